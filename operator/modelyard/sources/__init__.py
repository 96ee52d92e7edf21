"""Where a project's files come from: a git repository or a ConfigMap. The only code that speaks to git servers."""
