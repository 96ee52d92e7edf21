"""Pure builders of Kubernetes objects: typed values in, dictionaries out."""
