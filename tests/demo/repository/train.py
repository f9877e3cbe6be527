"""Train a classifier of handwritten digits from PNG files; the platform's contract: /kqi/input in, /kqi/output out."""

import os
import sys
from pathlib import Path

import joblib
import matplotlib
import numpy as np
from PIL import Image
from sklearn.metrics import ConfusionMatrixDisplay, accuracy_score
from sklearn.neural_network import MLPClassifier
from tensorboardX import SummaryWriter

matplotlib.use("Agg")
ROOT = Path(os.environ["KQI_ROOT"])
EPOCHS = int(os.environ.get("EPOCHS", "30"))


def load(split: str) -> tuple[np.ndarray, np.ndarray]:
    files = sorted((ROOT / "input" / split).rglob("*.png"))
    pictures = np.stack([np.asarray(Image.open(file), dtype=float).ravel() / 255 for file in files])
    return pictures, np.array([int(file.parent.name) for file in files])


def main() -> int:
    (x, y), (held_x, held_y) = load("training"), load("testing")
    print(f"{len(x)} pictures to learn from, {len(held_x)} held out", flush=True)
    before = ROOT / "parent" / "model.joblib"
    model = joblib.load(before) if before.exists() else MLPClassifier((64,), random_state=0, learning_rate_init=0.01)
    if before.exists():
        print(f"going on from the parent: accuracy {accuracy_score(held_y, model.predict(held_x)):.4f}", flush=True)
    writer = SummaryWriter(str(ROOT / "output" / "tensorboard"))
    for epoch in range(EPOCHS):
        model.partial_fit(x, y, classes=np.arange(10))
        accuracy = accuracy_score(held_y, model.predict(held_x))
        writer.add_scalar("loss", model.loss_, epoch)
        writer.add_scalar("accuracy", accuracy, epoch)
        if epoch % 5 == 0:
            print(f"epoch {epoch:2d}  loss {model.loss_:.4f}  accuracy {accuracy:.4f}", flush=True)
    writer.close()
    joblib.dump(model, ROOT / "output" / "model.joblib")
    ConfusionMatrixDisplay.from_predictions(held_y, model.predict(held_x)).figure_.savefig(
        ROOT / "output" / "confusion.png"
    )
    (ROOT / "output" / "value.txt").write_text(f"{accuracy:.4f}\n")
    print(f"accuracy on the held-out part: {accuracy:.4f}", flush=True)
    return 0 if accuracy >= 0.95 else 1


if __name__ == "__main__":
    sys.exit(main())
