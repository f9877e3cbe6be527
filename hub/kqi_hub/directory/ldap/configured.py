"""What is said of a directory."""

from jupyterhub.auth import Authenticator
from traitlets import TraitError
from traitlets.config import Config

from kqi_hub.directory.ldap import SECTION
from kqi_hub.directory.ldap.traits import LdapTraits
from kqi_hub.errors import ConfigError


def ldap_traits(config: Config) -> LdapTraits:
    """Return it as it was configured. Raises ConfigError for a name or a value that is none."""
    # What theirs inherits, `enable_auth_state` and the like, is decided for the whole platform.
    known = {*LdapTraits.class_trait_names(), *Authenticator.class_trait_names()}
    unknown = sorted(set(config.get(SECTION, {})) - known)
    if unknown:
        raise ConfigError("config_unknown_key", key=f"traits.{SECTION}.{unknown[0]}")
    try:
        return LdapTraits(config=config)
    except (TraitError, ValueError) as error:
        raise ConfigError("config_bad_value", key=f"traits.{SECTION}", message=str(error)) from error
