"""What tests share: small models, files and stand-ins, one kind a module."""
