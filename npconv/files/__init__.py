"""Bytes to arrays and back; knows no model.

No file is believed: sizes, offsets and names are checked before anything is read, and nothing in a file is ever run.

Everywhere `buffer` is a whole file, mapped; `source` is what errors call it; `check` says whether the members of a zip
file are compared with their checksums, which reads the whole file.

- ``safetensors``: reading and writing, on ``header`` (checked whole, before any tensor) and ``dtypes`` (the formats of
  numbers, and arrays that are not read yet)
- ``checkpoint``: all the weights of a model, in one file or several
- ``opening``: one function for the weight files of all frameworks: ``pytorch``, ``npy``, ``hdf5`` (with ``hdf5_child``,
  which the HDF5 library may crash), ``archive`` (zip files); ``strangers`` names what is none of these
- ``pickles``: a pickle read opcode by opcode, by the names in ``pickle_names`` and what calls of them stand for
  (``pickle_calls``), as the values of ``pickle_values``, from which ``settling`` makes arrays
- ``loading_arguments``: where a model comes from, sorted out of what callers say; ``saving_arguments``: how it is saved
- ``disk``: from the name of a model to its files; to map, to hash and to replace a file, and to read a small one
- ``locks``: one writer at a time, folders that appear whole, and what dead processes left; ``temporary``:
  folders among the temporary files that go with their process
"""
