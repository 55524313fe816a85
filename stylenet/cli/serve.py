"""Serve the page that ``stylenet page`` wrote, until Ctrl-C. ``--help`` lists the options."""

import webbrowser
from typing import Any

from omegaconf import DictConfig, OmegaConf

from stylenet.cli.hydra_app import run
from stylenet.system import console
from stylenet.system.errors import UserError

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # what listens on all addresses, and one of them


def job(config: DictConfig) -> None:
    from stylenet.page.serve import server

    options: Any = OmegaConf.to_container(config, resolve=True)
    if not isinstance(options["open"], bool):
        raise UserError(f"open={options['open']}: give true or false.")
    host = str(options["host"])
    with server(options["folder"], host, options["port"]) as running:
        shown = EVERYWHERE.get(host, f"[{host}]" if ":" in host else host)
        address = f"http://{shown}:{running.server_address[1]}/"
        console.write_line(address)
        console.warn_line("Ctrl-C stops it.")
        if options["open"]:
            webbrowser.open(address)
        try:
            running.serve_forever()
        except KeyboardInterrupt:
            console.warn_line("Stopped.")


def main() -> None:
    """The command line."""
    run(job, "serve", paths=["folder"], texts=["host"])
