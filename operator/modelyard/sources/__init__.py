"""Where a project's files come from: git, ConfigMaps, S3, what was kept. The only code that speaks to git servers."""
