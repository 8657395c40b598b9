"""QR codes in a picture: of a screen, or of a phone's camera. It takes the extra `ropeway[qr]`."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from .errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

# What screenshots and cameras make. Others have decoders that are rarely used, and the picture may come from anybody.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
# Our choice: cameras of phones make up to 50 million pixels in ordinary use. Three bytes each are held while it is read.
_MAX_PIXELS = 60_000_000


def read_codes(path: Path) -> list[str]:
    """The texts of the codes in it, in no order. Raises ConfigError where it cannot be read."""
    try:
        import zxingcpp
        from PIL import Image
    except ImportError:
        text = "pictures need two more packages: pip install 'ropeway[qr]'; or give the link itself"
        raise ConfigError("LINK", text) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # of the library's own limit, which is higher than ours, and of odd metadata
            with Image.open(path, formats=_FORMATS) as image:
                if image.width * image.height > _MAX_PIXELS:
                    raise ConfigError("LINK", f"{path} is larger than {_MAX_PIXELS:,} pixels; cut the code out of it")
                grey = image.convert("RGBA").convert("L") if "A" in image.mode else image.convert("L")
    except Image.DecompressionBombError:
        raise ConfigError("LINK", f"{path} is larger than {_MAX_PIXELS:,} pixels; cut the code out of it") from None
    except (OSError, ValueError, SyntaxError) as error:  # what the library raises for broken files
        reason = getattr(error, "strerror", None) or f"it is none of {', '.join(_FORMATS)}, or it is broken"
        raise ConfigError("LINK", f"{path} cannot be read: {reason}") from None
    found = zxingcpp.read_barcodes(grey, formats=zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode))
    return [code.text for code in found if code.valid]
