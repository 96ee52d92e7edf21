"""The file that bash sources before a trial's command (BASH_ENV): the environment comes first in PATH."""

from __future__ import annotations

from pathlib import Path

SCRIPT = "etc/modelyard/activate.sh"

_TEXT = """\
# bash sources this before the command, and before each script that the command starts.
case ":$PATH:" in
  *":{root}/bin:"*) ;;
  *)
    export PATH="{root}/bin:$PATH"
    export {variable}="{root}"
    unset PYTHONHOME
{more}    ;;
esac
"""
_CONDA = """\
    for script in "{root}"/etc/conda/activate.d/*.sh; do
      if [ -r "$script" ]; then . "$script"; fi
    done
    unset script
"""


def write(root: Path, *, conda: bool) -> None:
    """Write it into an environment. Packages of conda bring scripts that set their own variables."""
    path = root / SCRIPT
    path.parent.mkdir(parents=True, exist_ok=True)
    variable = "CONDA_PREFIX" if conda else "VIRTUAL_ENV"
    path.write_text(_TEXT.format(root=root, variable=variable, more=_CONDA.format(root=root) if conda else ""))
