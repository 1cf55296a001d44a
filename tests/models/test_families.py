"""What the folder of every family defines, and what is made of it: see ``npconv/models/__init__.py``."""

import inspect
import pickle

import pytest
from support.families import CLASSES

import npconv
from npconv.api.heads import BareModel
from npconv.errors import ConfigError
from npconv.models import FAMILIES, PretrainedConfig, family_of, find_family

EACH = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


@EACH
def test_a_folder_defines_what_is_asked_of_it(family):
    config = family.config_class()
    assert isinstance(config, PretrainedConfig)
    assert family_of(config) is find_family(family.model_type) is family
    assert (config.model_type, type(config).__name__) == (family.model_type, family.config_name)
    assert set(config.implied_fields) <= set(config.to_dict())
    model, plan, fast = (family.part(name) for name in ("model", "plan", "fast"))
    assert set(model.OF_OTHER_TASKS) == set(family.tasks)
    shapes = {task: getattr(model, f"{task}_shapes")(config) for task in family.tasks}
    for task in family.tasks:
        made = getattr(plan, task)(config, training=False)
        assert set(shapes[task]) >= {full for step in made for full in step.params.values()}
        assert len(made.hidden_states) == len(config.stage_names)
        assert "config" in inspect.signature(getattr(model, task)).parameters
    assert all(any(name.endswith(end) for name in shapes["model"]) for end in config.first_values)
    assert callable(fast.fold)
    assert list(inspect.signature(fast.make_engine).parameters)[:3] == ["config", "folded", "threads"]
    assert family.folder.DESCRIPTION
    assert family.folder.PAPER


@EACH
def test_no_parameter_of_a_function_hides_a_layer(family):
    """In a model file a name means one thing: a layer, a part of the model, or a parameter of a checkpoint."""
    module = family.part("model")
    for function in vars(module).values():
        if inspect.isfunction(function) and function.__module__ == module.__name__:
            assert not set(inspect.signature(function).parameters) & set(vars(module)), function.__name__


@pytest.mark.parametrize(("model_type", "task"), CLASSES)
def test_a_class_is_made_once_and_can_be_sent(model_type, task):
    family, made = FAMILIES[model_type], CLASSES[model_type, task]
    assert made is getattr(npconv, family.class_names[task]) is getattr(npconv.api, made.__name__)
    assert pickle.loads(pickle.dumps(made)) is made
    assert issubclass(made, BareModel)
    assert (made.__module__, made.__qualname__) == ("npconv.api.families", family.class_names[task])
    assert made.__doc__.startswith(family.title)
    assert (made.config_class, made.task) == (family.config_class, task)
    assert made.base_model_prefix == family.base_model_prefix
    assert made.__name__ in npconv.__all__
    assert made.__name__ in npconv.api.__all__


def test_what_is_of_no_family_is_refused():
    with pytest.raises(ConfigError, match=r"expected model_type to be one of convnext, .*; got None"):
        find_family(None)
    with pytest.raises(ConfigError, match=r"expected the configuration of ConvNeXt, ConvNeXt V2.*, got dict"):
        family_of({})
