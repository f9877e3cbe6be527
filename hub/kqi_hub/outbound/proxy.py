"""By which proxy a site reaches whom."""

from collections.abc import Mapping
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed lacks it


def proxy_for(host: str, proxies: Mapping[str, str]) -> str:
    """Return the proxy that connects to a host, by `https_proxy` and `no_proxy`; empty: nobody but ourselves."""
    proxy = proxies.get("https_proxy", "")
    return "" if proxy and proxy_bypass_environment(host, {"no": proxies.get("no_proxy", "")}) else proxy
