"""METHODS: one paper, one file."""

from hashret.methods.combiner import Combiner
from hashret.methods.contrastive import Contrastive
from hashret.methods.crcgs import CRCGS
from hashret.methods.crcgs_published import PublishedCRCGS
from hashret.methods.dcmh import DCMH
from hashret.methods.dscmr import DSCMR
from hashret.methods.icone import IConE
from hashret.methods.method import Batch, Method, Stage, StageSettings, Turn
from hashret.methods.mlcl import MLCL
from hashret.methods.query_parts import ImageOnly, Sum, TextOnly
from hashret.methods.tgdt import TGDT
from hashret.methods.tirg import TIRG

__all__ = ["METHODS", "VARIANTS", "Batch", "Method", "Stage", "StageSettings", "Turn"]

METHODS: dict[str, type[Method]] = {
    "combiner": Combiner,
    "contrastive": Contrastive,
    "crcgs": CRCGS,
    "crcgs_published": PublishedCRCGS,
    "dcmh": DCMH,
    "dscmr": DSCMR,
    "icone": IConE,
    "image_only": ImageOnly,
    "mlcl": MLCL,
    "sum": Sum,
    "text_only": TextOnly,
    "tgdt": TGDT,
    "tirg": TIRG,
}

VARIANTS: dict[str, dict[str, str]] = {"crcgs": {"improved": "crcgs", "published": "crcgs_published"}}
"""Method -> what a recipe's ``variant`` may say -> the entry of METHODS that it means."""
