# What `pip install` of a person brings is found in every terminal.
case ":$PATH:" in
  *":$HOME/.local/bin:"*) ;;
  *) PATH=$HOME/.local/bin:$PATH ;;
esac
[ ! -r /opt/conda/etc/profile.d/conda.sh ] || . /opt/conda/etc/profile.d/conda.sh
