"""The older name of ``npconv.files``, of which ``npconv.weights.safetensors`` is in use."""
