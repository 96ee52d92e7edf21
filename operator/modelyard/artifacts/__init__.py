"""The only code that calls S3."""
