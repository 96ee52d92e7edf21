"""A cache of the store's objects for the model pods of one node: ten replicas download once.

It holds no credentials. Who asks brings a presigned URL, and gets bytes only after the store has confirmed that this
very URL is authorised: nobody reads through the cache what the store would not give him. It asks no host but the
store's, keeps what it gives under the URL's path, ETag and size, and is never needed: a pod that it fails goes to the
store itself, and checks all it gets against the registered digest anyway.
"""
