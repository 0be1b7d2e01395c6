"""All networks of the corpus, and the few small ones that the tests take."""

from . import language, sound, vision
from .subject import Subject

SUBJECTS: dict[str, Subject] = {s.name: s for s in [*vision.SUBJECTS, *sound.SUBJECTS, *language.SUBJECTS]}
# Below 2 MB each, and quick to run: depthwise, plain convolutions, a transform of signals, dense layers.
SMALL = ("PP-OCR cls", "MTCNN pnet", "MTCNN rnet", "basic-pitch", "surfaces")
