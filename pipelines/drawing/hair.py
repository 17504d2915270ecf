"""Hair grown strand by strand over an ellipsoidal scalp and lit by its own tangents."""

import numpy as np

from .anatomy import Shape, half_width
from .field import Canvas, blur, enlarge, half, profile, smoothstep
from .looks import Look
from .shading import Light, to_display, to_linear
from .strokes import stroke_layer
from .styles import POINTS, STYLES, Scalp, Style, reach_of


def hair_layers(
    rng: np.random.Generator,
    canvas: Canvas,
    shape: Shape,
    look: Look,
    light: Light,
) -> tuple[np.ndarray, np.ndarray]:
    """Hair behind the body and hair over the head: premultiplied RGBA (H,W,4) float32, display space."""
    style = STYLES[look.style]
    empty = np.zeros((canvas.height, canvas.width, 4), np.float32)
    if style.count == 0:
        return empty, empty
    scalp = Scalp(np.array([0, -0.4, 0]), np.array([shape.face_w * 1.08, -shape.crown_y - 0.4, 1.36]))
    roots = scalp_roots(rng, scalp, style, look)
    strands = grow(rng, roots, scalp, shape, style)
    if style.tie:
        strands = np.concatenate([strands, tied(rng, shape)])
    strands = trimmed(rng, strands, style)
    colours = strand_colours(rng, strands, scalp, look, light)
    # short crosswise strokes at the roots hide the scalp along partings
    roots_across = strands[:, :1] + np.array([[-0.04, 0, -0.3], [0, 0.02, -0.3], [0.04, 0, -0.3]])
    pieces = np.concatenate([roots_across, split(strands)])
    shades = np.concatenate([colours[:, :3] * 0.7, split(colours)])
    behind = pieces[:, :, 2].mean(axis=1) < -0.22
    behind[: len(strands)] = strands[:, 0, 2] < -0.1
    if style.length < 0.5:
        return empty, draw(canvas, pieces[~behind], shades[~behind], style)
    return (
        draw(canvas, pieces[behind], shades[behind] * 0.62, style),
        draw(canvas, pieces[~behind], shades[~behind], style),
    )


def trimmed(rng: np.random.Generator, strands: np.ndarray, style: Style) -> np.ndarray:
    """Strands (N,P,3) cut off at the style's lower end and kept inside its width."""
    wide = reach_of(style)[0] - 0.1
    uneven = 0.06 * np.sin(strands[:, :1, 0] * 9 + strands[:, :1, 2] * 5) + 0.05 * np.abs(strands[..., 0])
    cut = style.cut + uneven + np.abs(rng.normal(0, 0.05 * style.cut - 0.06, (len(strands), 1)))
    x = np.abs(strands[..., 0]) - (wide - 0.45)
    inside = np.where(x > 0, wide - 0.45 + 0.45 * np.tanh(x / 0.45), x + wide - 0.45)
    return np.stack([np.copysign(inside, strands[..., 0]), np.minimum(strands[..., 1], cut), strands[..., 2]], axis=-1)


def split(strands: np.ndarray) -> np.ndarray:
    """Strands (N,POINTS,C) cut into overlapping three-point pieces (M,3,C)."""
    return np.concatenate([strands[:, i : i + 3] for i in range(0, POINTS - 1, 2)])


def hairline(x: np.ndarray, style: Style, look: Look) -> np.ndarray:
    """Height (IOD) of the front hairline at x; hair grows above it."""
    a = np.abs(x)
    drop = style.recede + 0.1 * look.age * look.masculine
    burn = -0.1 if look.masculine > 0.5 else -0.4
    return profile(
        a,
        [
            (0.0, -1.06 - 0.6 * drop),
            (0.45, -1.03 - 1.25 * drop),
            (0.75, -0.84 - 0.9 * drop),
            (0.93, -0.52 - 0.4 * drop),
            (1.05, -0.36),
            (1.12, burn),
            (1.3, burn),
        ],
    )


def scalp_roots(rng: np.random.Generator, scalp: Scalp, style: Style, look: Look) -> np.ndarray:
    """Points (N,3) on the scalp where hair grows."""
    direction = rng.standard_normal((style.count * 4, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    point = scalp.centre + scalp.radii * direction
    front = direction[:, 2] > -0.04
    line = hairline(point[:, 0], style, look) + rng.normal(0, 0.035, len(point))
    # roots by the ears would hang over the cheeks, because the scalp is narrower there than the face
    line = np.where(front, line, np.where(point[:, 2] > -0.35, -0.12, 0.55))
    keep = point[:, 1] < line
    keep &= (direction[:, 2] > -0.55) | (rng.uniform(size=len(point)) < 0.35)
    return point[keep][: style.count]


def comb(style: Style, roots: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Initial growth direction (N,3) for roots with outward normals (N,3)."""
    side = np.tanh((roots[:, 0] - style.part) * 6)
    zero = np.zeros(len(roots))
    high = smoothstep(0.35, 0.75, -normal[:, 1])
    if style.comb == "part":
        way = np.stack([side * 1.0, -0.12 + zero, -0.3 + zero], 1)
    elif style.comb == "back":
        way = np.stack([0.15 * side, -0.9 * high - 0.1, -0.8 - 0.3 * (1 - high)], 1)
    elif style.comb == "crop":
        lean = 1.0 if style.part < 0 else -1.0
        way = np.stack([0.6 * lean * high, 0.65 * (1 - high) - 0.3 * high, -0.35 * (1 - high) + 0.15 * high], 1)
    elif style.comb == "tie":
        goal = np.array([0.0, -1.95, -0.45]) - roots
        way = goal / np.linalg.norm(goal, axis=1, keepdims=True)
    else:
        way = normal.copy()
    return way + normal * style.lift


def grow(rng: np.random.Generator, roots: np.ndarray, scalp: Scalp, shape: Shape, style: Style) -> np.ndarray:
    """Strands (N,POINTS,3) in IOD that hug the scalp, fall with gravity and keep off the face."""
    normal = (roots - scalp.centre) / scalp.radii
    shell = 1.0 + rng.uniform(0.0, style.body, (len(roots), 1))
    if style.comb == "tie":
        strands = pulled_back(normal, scalp, shell)
        return strands + ripple(rng, strands, style)
    way = comb(style, roots, normal) + rng.normal(0, style.messy, roots.shape)
    length = style.length * rng.uniform(0.68, 1.08, (len(roots), 1))
    if style.comb == "crop":
        length = length * (0.3 + 0.7 * smoothstep(-0.1, 0.7, -normal[:, 1:2]))
    step, point, path = length / (POINTS - 1), roots, [roots]
    for k in range(1, POINTS):
        q = (point - scalp.centre) / scalp.radii
        way = way * np.stack([1 - 0.3 * smoothstep(-0.1, 0.4, q[:, 1]), np.ones(len(q)), np.ones(len(q))], axis=1)
        pull = np.array([0.0, style.weight, 0.0]) - q * style.cling * smoothstep(0.5, 0.05, q[:, 1:2])
        way = way / np.linalg.norm(way, axis=1, keepdims=True) + pull * step
        moved = hug(point + way * step, scalp, 1.0 + (shell - 1.0) * min(1.0, k / 3))
        moved = off_face(moved, shape, style) if style.length > 0.7 else moved
        way, point = moved - point + 1e-6, moved
        path.append(point)
    strands = np.stack(path, axis=1)
    return strands + ripple(rng, strands, style)


def pulled_back(normal: np.ndarray, scalp: Scalp, shell: np.ndarray) -> np.ndarray:
    """Strands (N,POINTS,3) drawn tightly over the scalp from outward normals (N,3) to the crown."""
    t = np.linspace(0, 1, POINTS)[None, :, None]
    across = normal[:, None] * (1 - t) + np.array([0.0, -0.95, -0.3]) * t
    across = across / np.linalg.norm(across, axis=2, keepdims=True)
    return scalp.centre + across * scalp.radii * (1 + (shell[:, None] - 1) * np.minimum(1, t * 4))


def hug(point: np.ndarray, scalp: Scalp, shell: np.ndarray) -> np.ndarray:
    """Push points (N,3) out of the scalp enlarged by `shell` (N,1)."""
    q = (point - scalp.centre) / scalp.radii
    radius = np.linalg.norm(q, axis=1, keepdims=True)
    return np.where(radius < shell, scalp.centre + q / radius * shell * scalp.radii, point)


def off_face(point: np.ndarray, shape: Shape, style: Style) -> np.ndarray:
    """Move points (N,3) sideways until they leave the face and the throat free."""
    y = point[:, 1]
    keep = 0.95 * half_width(shape, np.minimum(y, 0.9)) * smoothstep(-1.0, -0.1, y)
    side = np.where(np.abs(point[:, 0]) > 0.35, np.sign(point[:, 0]), np.where(point[:, 0] >= style.part, 1.0, -1.0))
    moved = point.copy()
    moved[:, 0] = np.where((point[:, 2] > -0.22) & (side * point[:, 0] < keep), side * keep, point[:, 0])
    return moved


def ripple(rng: np.random.Generator, strands: np.ndarray, style: Style) -> np.ndarray:
    """Waves or curls along strands (N,P,3), alike within locks; same shape."""
    t = np.linspace(0, 1, POINTS)[None, :]
    lock = (
        np.sin(strands[:, 0, 0] * 9) * 2 + np.cos(strands[:, 0, 1] * 11) * 2 + rng.normal(0, style.frizz, len(strands))
    )
    turn = t * style.waves * 2 * np.pi + lock[:, None]
    size = style.wave * np.minimum(1, t * 3)
    loose = rng.normal(0, 0.25 * style.wave + 0.012, (len(strands), 1)) * t
    return np.stack([size * np.sin(turn) + loose, size * 0.7 * np.cos(turn) - 0.2 * size, size * np.cos(turn)], axis=-1)


def tied(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Strands (N,POINTS,3) wound into a bun over the crown."""
    n, t = 1100, np.linspace(0, 1, POINTS)[None, :]
    radius = rng.uniform(0.0, 1.0, (n, 1)) ** 0.5
    start, sweep = rng.uniform(0, 2 * np.pi, (n, 1)), rng.uniform(0.8, 2.4, (n, 1))
    angle = start + sweep * t
    tilt = rng.normal(0, 0.06, (n, 1)) + 0.12 * np.sin(angle * 2)
    r = 0.42 * radius * (1 - 0.15 * t)
    x, y = r * np.cos(angle) * 1.12, r * np.sin(angle) * (0.8 + tilt)
    z = np.sqrt(np.maximum(0.2 - x * x - y * y, 0)) - 0.05
    return np.stack([x, y + shape.crown_y - 0.2, np.broadcast_to(z, x.shape)], axis=-1)


def strand_colours(rng: np.random.Generator, strands: np.ndarray, scalp: Scalp, look: Look, light: Light) -> np.ndarray:
    """Kajiya-Kay shading per point of strands (N,P,3), display RGB (N,P,3)."""
    along = np.gradient(strands, axis=1)
    along = along / (np.linalg.norm(along, axis=2, keepdims=True) + 1e-6)
    q = (strands - scalp.centre) / scalp.radii * np.array([1, 0.55, 1])
    q = q / (np.linalg.norm(q, axis=2, keepdims=True) + 1e-6)
    facing = 0.42 + 0.58 * np.clip(q @ light.key + 0.25, 0, 1.2)
    halfway = light.key + np.array([0, 0, 1], np.float32)
    halfway = halfway / np.linalg.norm(halfway)
    diffuse = np.sqrt(np.clip(1 - (along @ light.key) ** 2, 0, 1))
    shine = np.clip(1 - (along @ halfway + rng.normal(0, 0.06, (len(strands), 1))) ** 2, 0, 1)
    own = to_linear(look.hair) * np.exp(rng.normal(0, 0.24, (len(strands), 1, 1)))
    own = own * (1 + rng.normal(0, 0.05, (len(strands), 1, 3)))
    t = np.linspace(0, 1, POINTS)[None, :, None]
    body = own * (facing * (0.35 + 0.75 * diffuse))[..., None] * (0.6 + 0.5 * np.minimum(1, t * 3))
    gleam = (facing * (0.05 * shine**24 + 0.10 * shine**90))[..., None] * (0.35 + own * 3) * light.colour
    return to_display((body + gleam).astype(np.float32))


def draw(canvas: Canvas, pieces: np.ndarray, colours: np.ndarray, style: Style) -> np.ndarray:
    """Undercoat and strand pieces (N,3,3) with display colours (N,3,3) as premultiplied RGBA (H,W,4)."""
    if len(pieces) == 0:
        return np.zeros((canvas.height, canvas.width, 4), np.float32)
    small = half(canvas)
    dim = colours.mean(axis=1) * 0.78
    coat = stroke_layer(small, pieces[..., :2], dim, pieces[:, 1, 2], 2, layers=2, levels=8)
    coat = enlarge(blur(coat, small, style.coat), canvas)
    # a tighter edge than the blur leaves, or a dark fringe would outline the hair
    coat *= smoothstep(0.25, 0.95, coat[..., 3:]) * style.cover
    fine = stroke_layer(canvas, pieces[..., :2], colours.mean(axis=1), pieces[:, 1, 2], layers=8, levels=24)
    fine *= style.strand
    return coat * (1 - fine[..., 3:]) + fine
