"""What it costs a style to share its network: one network of many styles, and one of each style alone.

    python -m benchmarks.experiments.many_styles styles=[starry_night,great_wave] images=paintings \
        data=/path/to/photos val=/path/to/others crops=600 out=many

All begin at the same network and see equally many crops for each style (Dumoulin et al. 2017, section 3). The loss is
then measured on the same photos, with the references and the scale of the style's own training. ``images`` is a folder
with <style>.jpg for each style; without it the paintings are the bundled ones. What is finished is kept, what was
stopped goes on. ``out`` gets the trainings, ``report`` the figures after each style.
"""

from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.experiments.any_style import in_style
from benchmarks.experiments.trainings import answering, data_arguments, device, options, train, write_results
from benchmarks.experiments.warm_start import loss_of, readings
from stylenet.data.paintings import find_painting
from stylenet.evaluation.metrics import squares
from stylenet.nets import checkpoint
from stylenet.system.errors import UserError

OPTIONS: dict[str, Any] = {
    "styles": [],  # names of configs/style
    "images": None,  # a folder with their paintings; null: the bundled ones
    "crops": 600,  # of each style, in either network
    "data": None,  # folder of photos to train on; null: the bundled ones
    "val": None,  # folder of photos to measure on; null: the bundled ones
    "photos": 8,  # of them
    "photo_size": 256,  # their side in pixels
    "extra": [],  # more arguments for scripts/train.py in all trainings, such as [data.size=128,init=gallery]
    "out": "many_styles",
    "report": "docs/results/many_styles.json",
}
BATCH = 4  # crops a step


def main() -> None:
    chosen = options(OPTIONS)
    styles = chosen["styles"]
    if len(styles) < 2 or chosen["crops"] % BATCH:
        raise UserError(f"styles={styles} crops={chosen['crops']}: give two or more styles, and a multiple of {BATCH}.")
    folder, steps = Path(chosen["out"]).resolve(), chosen["crops"] // BATCH
    photos = squares(chosen["val"], chosen["photo_size"], chosen["photos"])
    together = train(folder / "together", arguments(styles, chosen), steps * len(styles))
    found: dict[str, Any] = {}
    for style in styles:
        alone = train(folder / style, arguments([style], chosen), steps)
        loss = loss_of(str(painting(style, chosen)), checkpoint.load(alone)[1])
        nets = {"alone": in_style(str(alone), Path(style)), "together": in_style(str(together), Path(style))}
        found[style] = {name: readings(loss, net.to(device()), photos) for name, net in nets.items() if net is not None}
        of_alone, of_together = (found[style][name]["loss"] for name in nets)
        found[style]["together_over_alone"] = round(of_together / of_alone, 4)
        ratio = round(mean(each["together_over_alone"] for each in found.values()), 4)
        write_results(Path(chosen["report"]), chosen, styles=found, mean_ratio=ratio)
        print(style, found[style], flush=True)


def painting(style: str, chosen: dict[str, Any]) -> Path:
    if chosen["images"] is None:
        return find_painting(f"{style}.jpg")
    return Path(chosen["images"]).expanduser() / f"{style}.jpg"


def arguments(styles: list[str], chosen: dict[str, Any]) -> list[str]:
    """For scripts/train.py."""
    named = f"style=[{','.join(styles)}]" if len(styles) > 1 else f"style={styles[0]}"
    images = [f"style.{style}.image={painting(style, chosen).resolve()}" for style in styles]
    data = [*data_arguments(chosen["data"], None), "data.val=0", f"data.batch_size={BATCH}"]
    return [named, *images, *data, "trainer.sheet_every=1000000", "logger=csv", *chosen["extra"]]


if __name__ == "__main__":
    answering(main)
