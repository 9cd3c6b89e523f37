"""A page and a JSON API over a run and its indexes; ``pip install 'hashret[serve]'`` brings what they need.

``run_server`` is what ``hashret serve`` calls. The port answers at once, the model is loaded behind it, and single
requests go through the encoder together. Nothing is fetched, and nothing on disk is named by a request.
"""

from hashret.serve.app import create_app
from hashret.serve.limits import Limits
from hashret.serve.server import run_server
from hashret.serve.service import Service

__all__ = ["Limits", "Service", "create_app", "run_server"]
