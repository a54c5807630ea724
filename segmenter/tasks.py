"""The four tasks as data: what each model finds, where it learnt it, how its input is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeGuard

InputPolicy = Literal["fit", "tile", "stretch"]
SHORTEST_SIDE, LONGEST_SIDE = 1e-6, 1e6  # of a pixel, in any unit of length


@dataclass(frozen=True)
class ClassInfo:
    """One class; its position in ``Task.classes`` is its class id. ``color`` is RGB in [0, 255]."""

    name: str
    color: tuple[int, int, int]


@dataclass(frozen=True)
class Source:
    """Where training data comes from and on what terms."""

    title: str
    url: str
    licence: str
    citation: str


@dataclass(frozen=True)
class Task:
    """What one model does.

    ``input_policy`` says how a picture reaches the network: ``"fit"`` scales the whole photograph
    to the working size and keeps its aspect, ``"tile"`` reads it at its own scale in overlapping
    tiles, and ``"stretch"`` scales it to a square whatever its aspect, as the ancestors did.
    ``has_objects`` is true where single objects are counted. ``length_unit`` is what the side of a pixel
    is given in, "m" or "µm", and empty where pixels have no fixed size.
    """

    name: str
    title: str
    description: str
    classes: tuple[ClassInfo, ...]
    input_policy: InputPolicy
    sources: tuple[Source, ...]
    has_objects: bool = False
    length_unit: str = ""

    def __post_init__(self) -> None:
        names = self.class_names
        if len(names) < 2 or names[0] != "background" or len(set(names)) != len(names):
            raise ValueError(
                f"task {self.name}: classes are {names}; give at least two different names, "
                "the first of them 'background'"
            )

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(info.name for info in self.classes)

    def class_id(self, name: str) -> int:
        """The id of a class; KeyError that lists the known names otherwise."""
        if name not in self.class_names:
            raise KeyError(f"{self.name} has no class {name!r}; it has {', '.join(self.class_names)}.")
        return self.class_names.index(name)


# Colours from Okabe & Ito (2008), told apart with every common colour vision.
BACKGROUND = ClassInfo("background", (0, 0, 0))

VOC = Source(
    "Pascal VOC 2012 with SBD labels",
    "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
    "research use",
    "Everingham et al., IJCV 2010; Hariharan et al., ICCV 2011",
)

PETS = Task(
    name="pets",
    title="Pets",
    description="Cats and dogs in photographs, with the soft border of their fur.",
    classes=(BACKGROUND, ClassInfo("pet", (230, 159, 0)), ClassInfo("border", (86, 180, 233))),
    input_policy="fit",
    sources=(
        Source(
            "Oxford-IIIT Pet",
            "https://www.robots.ox.ac.uk/~vgg/data/pets/",
            "CC BY-SA 4.0",
            "Parkhi et al., Cats and Dogs, CVPR 2012",
        ),
        VOC,
    ),
)

WATER = Task(
    name="water",
    title="Water",
    description="Lakes, rivers and coast in Sentinel-2 satellite pictures.",
    classes=(BACKGROUND, ClassInfo("water", (0, 114, 178))),
    input_policy="tile",
    sources=(
        Source(
            "Satellite Images of Water Bodies (Sentinel-2)",
            "https://www.kaggle.com/datasets/franciscoescobar/satellite-images-of-water-bodies",
            "Copernicus Sentinel data terms",
            "Escobar, Kaggle 2020; contains modified Copernicus Sentinel data",
        ),
    ),
    length_unit="m",
)

NUCLEI = Task(
    name="nuclei",
    title="Nuclei",
    description="Cell nuclei in fluorescence and stained microscopy, counted one by one.",
    classes=(BACKGROUND, ClassInfo("nucleus", (0, 158, 115))),
    input_policy="tile",
    sources=(
        Source(
            "2018 Data Science Bowl (BBBC038)",
            "https://bbbc.broadinstitute.org/BBBC038",
            "CC0",
            "Caicedo et al., Nature Methods 16, 1247-1253, 2019",
        ),
    ),
    has_objects=True,
    length_unit="µm",
)

CARS = Task(
    name="cars",
    title="Cars",
    description="Cars in street scenes, car parks and studio photographs.",
    classes=(BACKGROUND, ClassInfo("car", (213, 94, 0))),
    input_policy="fit",
    sources=(
        Source(
            "CamVid (SegNet split)",
            "http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/",
            "research use",
            "Brostow et al., Pattern Recognition Letters 2009",
        ),
        Source(
            "INRIA Graz-02 cars",
            "https://lear.inrialpes.fr/people/marszalek/data/ig02/",
            "research use",
            "Marszalek & Schmid, CVPR 2007",
        ),
        Source(
            "Car segmentation (intelecai)",
            "https://www.kaggle.com/datasets/intelecai/car-segmentation",
            "free use with citation",
            "Intelec AI, Kaggle 2021",
        ),
        VOC,
    ),
)

TASKS: dict[str, Task] = {task.name: task for task in (PETS, WATER, NUCLEI, CARS)}


def get_task(task: str | Task) -> Task:
    """A task by name; ValueError that lists the known ones otherwise."""
    if isinstance(task, Task):
        return task
    if task not in TASKS:
        raise ValueError(f"unknown task {task!r}; choose one of {', '.join(TASKS)}.")
    return TASKS[task]


def is_side(pixel_size: float | None) -> TypeGuard[float]:
    """Whether a number can be the side of a pixel in a unit of length: that of an atomic picture in µm, or of one of
    a whole planet in m."""
    return pixel_size is not None and SHORTEST_SIDE <= pixel_size <= LONGEST_SIDE
