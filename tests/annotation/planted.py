"""Planted annotators: a careful one, and one for each way in which work goes wrong. Everybody here is made up, and so
is every record. No annotator wrote these sentences: they were made up for the tests and are filled in by a program, so
that the texts are `template`."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from annotation.answers import Answer, Kind, in_order, text_sha256
from annotation.quality import RULES, Finding, inspect
from annotation.quality.finding import Case
from mmtt.grounding import ground
from mmtt.recipe import AnnotateSection, QualitySection

SETTINGS = AnnotateSection()
UNEXAMINED = AnnotateSection(qualification_tasks=0)
FIRST = 300  # record of those who are planted
MORNING = datetime(2026, 3, 2, 8, tzinfo=UTC)
# What was edited in an invented record: its number picks one.
EDITS = (
    ("eye",), ("nose",), ("mouth", "lip"), ("cheek",), ("chin", "jaw"), ("forehead",), ("eyebrow",), ("ear",),
    ("eye", "eyebrow"), ("nose", "mouth"), ("cheek", "chin"), ("hair",), ("lip",), ("jaw",),
)  # fmt: skip
_SIDES = {"en": ("left ", "right "), "zh": ("左", "右")}
_PAIRED = ("eye", "cheek", "eyebrow", "ear")
_PARTS = {
    "eye": "眼", "nose": "鼻子", "mouth": "嘴巴", "lip": "嘴唇", "cheek": "脸颊", "chin": "下巴", "jaw": "下颌",
    "forehead": "额头", "eyebrow": "眉毛", "ear": "耳朵", "hair": "头发",
}  # fmt: skip

ENGLISH = (
    "The edge of the {part} is drawn sharper than anything around it.",
    "A pale halo runs along one side of the {part}.",
    "Light falls on the {part} from another direction than on the rest.",
    "The {part} sits a little too high for where the head is turned.",
    "Grain is missing from the {part}, as if it had been wiped smooth.",
    "Somebody seems to have softened the {part} until its detail was gone.",
    "There is a visible seam where the {part} meets its surroundings.",
    "The colour of the {part} is warmer than what lies beside it.",
    "Seen close up, the {part} breaks into small square blocks.",
    "The {part} is bent in a way that bone would not allow.",
    "Its twin on the other side is crisp, while this {part} is out of focus.",
    "The outline of the {part} wobbles like something seen through water.",
    "A dark smear crosses the {part} and ends abruptly.",
    "The {part} has been copied at a slightly different scale.",
    "Half of the {part} fades away into a flat patch of one tone.",
    "Contrast around the {part} is stronger than anywhere else in the photograph.",
    "The shadow that belongs below the {part} is absent.",
    "Two outlines overlap at the {part}, one fainter than the other.",
    "The {part} looks painted, with brush marks that repeat.",
    "The {part} is tinted green, unlike its neighbourhood.",
    "The {part} leans to one side although the head is upright.",
    "Something like a sticker covers the {part}; its rim catches no light.",
    "The {part} carries a gloss that the lamp in the room cannot explain.",
    "Repeating texture gives away that the {part} was filled in afterwards.",
    "The {part} is noticeably larger than the perspective permits.",
    "Jagged steps appear along the lower border of the {part}.",
    "Around the {part} the picture is blurred in a ring.",
    "The {part} glows faintly against its darker background.",
    "Where the {part} begins, the noise of the camera stops.",
    "The {part} has a hard corner that nature does not make.",
    "At second sight the {part} is lit from below, everything else from above.",
    "The {part} dissolves into streaks that run diagonally.",
    "The tone of the {part} jumps from one pixel to the next.",
    "The {part} seems to float in front of the head.",
    "A thin bright line separates the {part} from what is next to it.",
    "Compression marks pile up on the {part} and nowhere else.",
    "The {part} is stretched sideways, as on a bent print.",
    "One would expect depth here, but the {part} is completely flat.",
    "The {part} has lost its fine structure and resembles wax.",
    "There is an odd bulge in the {part} that casts no shadow.",
    "The {part} ends too early; the remainder is washed out.",
    "Fine detail of the {part} is doubled, like a shaken exposure.",
    "The transition at the {part} is abrupt and follows a circle.",
    "The {part} is sharper than the camera's focus would let it be.",
    "Greyish spots on the {part} form a regular grid.",
    "The {part} is rotated by a few degrees against the axis of the head.",
    "An oval patch over the {part} has a brightness of its own.",
    "The {part} is oddly symmetrical, as though one half had been mirrored.",
    "The {part} shimmers with colours that a lens does not produce.",
    "Its position is plausible, yet the {part} belongs to another pose.",
    "The {part} is cut off by a straight border.",
    "The {part} is much darker than the exposure would make it.",
    "Ripples spread from the {part} as if the picture had been pushed.",
    "The {part} has a milky tint, as if seen through fog.",
    "Both the size and the angle of the {part} are wrong.",
    "I notice smudged detail on the {part}, next to areas that are clear.",
    "The {part} has an artificial sheen, almost like plastic.",
    "Parts of the background shine through the {part}.",
    "The {part} was evidently pasted, since its border is not straight but notched.",
    "The {part} changes its texture midway without any reason.",
    "The {part} looks squeezed, with less room than it needs.",
    "The {part} stands out because its saturation is much lower.",
)

CHINESE = (
    "{part}的边缘比周围锐利得多，像是剪下来贴上去的。",
    "{part}一侧有一圈发白的光晕。",
    "{part}的受光方向与其他地方相反。",
    "{part}的颜色偏暖，和旁边衔接不上。",
    "{part}缺少噪点，像被抹平了一样。",
    "放大以后，{part}上出现了方块状的压缩痕迹。",
    "{part}轮廓扭曲，仿佛隔着水看。",
    "{part}下方应有的阴影消失了。",
    "{part}处有两层重叠的轮廓，一深一浅。",
    "{part}的纹理重复出现，明显是后期填充。",
    "{part}比透视关系所允许的要大一些。",
    "{part}的下缘呈锯齿状，过渡生硬。",
    "围绕{part}有一圈模糊带。",
    "{part}泛着塑料一般的反光。",
    "{part}被横向拉长，比例失调。",
    "{part}的细节丢失，质感像蜡。",
    "一条细亮的接缝把{part}和周围隔开。",
    "{part}的明暗在相邻像素之间突然跳变。",
    "{part}似乎浮在画面前方，没有立体感。",
    "{part}上有斜向的拖影。",
    "{part}相对头部的轴线转了几度，角度不对。",
    "{part}蒙着一层灰白的雾。",
    "{part}偏绿，与整体色调不一致。",
    "{part}的一半渐渐变成单一的色块。",
    "{part}的清晰度超过了镜头的对焦范围。",
    "{part}附近的线条像波纹一样被推开。",
    "{part}过于对称，像是镜像复制的结果。",
    "{part}的饱和度明显偏低，显得突兀。",
    "{part}的边界沿着一个圆形突然中断。",
    "透过{part}可以看到背后的背景，属于合成错误。",
    "{part}的位置偏高，和头部朝向矛盾。",
    "{part}有一块不规则的暗斑，来历不明。",
)


def case(*answers: Answer, **thresholds: Any) -> Case:
    """Return answers and thresholds as the rules see them; nobody need be examined."""
    return Case(in_order(answers), QualitySection(**thresholds), UNEXAMINED)


def found(rule: str, *answers: Answer, **thresholds: Any) -> list[Finding]:
    """Return what one rule finds; nobody need be examined."""
    others = tuple(name for name in RULES if name != rule)
    return inspect(answers, QualitySection(ignore=others, **thresholds), UNEXAMINED)


def make_answer(number: int = 0, annotator: str = "ann", **changes: Any) -> Answer:
    """Return a good answer to the ordinary task of an invented record, with some fields changed."""
    language = changes.get("language", "en")
    edited = EDITS[number % len(EDITS)]
    submitted = changes.get("submitted", MORNING + timedelta(seconds=100 * number))
    made = Answer(
        uid=f"{annotator}-{number:04d}",
        task_key=f"task-{number:04d}",
        record_id=f"record-{number:04d}",
        image_sha256=f"{number:064x}",
        protocol="blind_then_verified",
        stage="describe",
        kind=Kind.ORDINARY,
        annotator=annotator,
        language=language,
        submitted=submitted,
        updated=changes.get("updated", submitted),
        drafted=submitted - timedelta(seconds=50),
        lead_time_s=90.0,
        verdict="visible",
        regions=edited,
        text=report(number, language, edited),
        difficulty=1 + number % 5,
        region_shares=dict.fromkeys(edited, 0.8),
    )
    return replace(made, **changes)


def report(number: int, language: str, parts: tuple[str, ...]) -> str:
    """Return two sentences about parts of a face; no two of them go together twice among 200 numbers."""
    sentences, step = (CHINESE, 2) if language == "zh" else (ENGLISH, 7)
    first = number % len(sentences)
    second = (first + 1 + step * (number // len(sentences))) % len(sentences)
    chosen = (sentences[first], sentences[second])
    named = [part_name(parts[place % len(parts)], language, number) for place in range(2)]
    filled = [sentence.format(part=name) for sentence, name in zip(chosen, named, strict=True)]
    return ("" if language == "zh" else " ").join(filled)


def part_name(part: str, language: str, number: int) -> str:
    """Return a part's name in a sentence; of a pair, one side."""
    side = _SIDES[language][number % 2] if part in _PAIRED else ""
    return side + (_PARTS[part] if language == "zh" else part)


def careful(annotator: str = "careful", language: str = "en", count: int = 200, first: int = 0) -> list[Answer]:
    """Return a careful person's work: the examination, then reports, checks, pictures without a trace, skips."""
    rng = np.random.default_rng(len(annotator))
    now, answers = MORNING, []
    for place in range(count):
        seconds = float(np.clip(rng.lognormal(4.6, 0.2), 65, 300))
        now += timedelta(seconds=seconds) + timedelta(hours=5) * (place % 40 == 39)
        typing = timedelta(seconds=float(rng.uniform(0.5, 0.7)) * seconds)
        answers.append(
            make_answer(
                first + place, annotator, language=language, submitted=now, drafted=now - typing,
                lead_time_s=seconds - 2, **_task(place),
            )
        )  # fmt: skip
    return answers


def _task(number: int) -> dict[str, Any]:
    nothing: dict[str, Any] = {"verdict": "none_visible", "regions": (), "text": "", "difficulty": None}
    if number < 20:
        pristine = {"region_shares": {}, **nothing} if number % 4 == 3 else {}
        return {"kind": Kind.QUALIFICATION, **pristine}
    if number % 20 == 0:
        return {"kind": Kind.GOLD}
    if number % 15 == 0:
        return {"kind": Kind.CATCH, "region_shares": {}, **nothing}
    if number % 33 == 0:
        return {**nothing, "skipped": True, "verdict": None, "flags": ("technical_fault",)}
    return nothing if number % 17 == 0 else {}


def others(name: str, count: int = 60, first: int = FIRST) -> list[Answer]:
    """Return careful work about other records than those of `careful`, in other words."""
    return careful(name, count=count, first=first)


def _changed(name: str, change: Callable[[int, Answer], dict[str, Any]], count: int = 60) -> list[Answer]:
    """A careful person's work, but for what `change` gives for the reports among it."""
    return [
        replace(a, **change(FIRST + n, a)) if a.verdict == "visible" else a for n, a in enumerate(others(name, count))
    ]


def copy_paster() -> list[Answer]:
    text = "I see a strange smear on the {}, and the {} is not in focus either"
    return _changed("copy-paster", lambda n, a: {"text": text.format(a.regions[0], a.regions[-1]) + "!" * (n % 3)})


def rusher() -> list[Answer]:
    def hurried(number: int) -> dict[str, Any]:
        submitted = MORNING + timedelta(seconds=20 * number)
        return {"submitted": submitted, "updated": submitted, "drafted": None, "lead_time_s": 18.0}

    return [replace(a, **hurried(n)) for n, a in enumerate(others("rusher"))]


def always_eyes() -> list[Answer]:
    return _changed("always-eyes", lambda n, _: {"regions": ("eye",), "text": report(n, "en", ("eye",))})


def contradictor() -> list[Answer]:
    return _changed("contradictor", lambda n, a: {"text": report(n, "en", (_elsewhere(a.regions),))})


def _elsewhere(regions: Iterable[str]) -> str:
    return "hair" if "forehead" in regions else "forehead"


def denier() -> list[Answer]:
    return _changed(
        "denier", lambda _, a: {"text": f"Honestly, the {a.regions[0]} looks natural to me, nothing is wrong."}
    )


def name_dropper() -> list[Answer]:
    names = ("It looks like Tom Sawyer.", "This is Anna Karenina.", "A famous actor.", "She is an Asian woman.")
    return _changed("name-dropper", lambda n, a: {"text": f"{a.text} {names[n % 4]}"})


def paster() -> list[Answer]:
    """Takes what the careful one wrote, of records about which others are asked."""
    victims = [a for a in careful() if a.verdict == "visible"]

    def pasted(number: int, answer: Answer) -> dict[str, Any]:
        taken, later = victims[number - FIRST], answer.submitted + timedelta(days=30)
        return {
            "record_id": f"other-{number}", "regions": taken.regions, "region_shares": taken.region_shares,
            "text": taken.text, "submitted": later, "updated": later, "drafted": later - timedelta(seconds=3),
        }  # fmt: skip

    return _changed("paster", pasted)


def gold_failer() -> list[Answer]:
    return [
        replace(a, regions=("tooth",), text=f"The tooth is odd, in the {n}th way that I know of.")
        if a.kind is Kind.GOLD
        else replace(a, verdict="visible", regions=("nose",), text=report(n, "en", ("nose",)), difficulty=3)
        if a.kind is Kind.CATCH
        else a
        for n, a in enumerate(others("gold-failer", 120))
    ]


def drifter() -> list[Answer]:
    """Takes less and less time, and writes one sentence instead of two."""

    def lazy(number: int, answer: Answer) -> dict[str, Any]:
        return {"lead_time_s": 61.0, "text": answer.text.split(". ")[0] + "."} if number > FIRST + 80 else {}

    return _changed("drifter", lazy, count=140)


def mixer() -> list[Answer]:
    return _changed("mixer", lambda n, a: {"text": f"{report(n, 'en', a.regions)} {report(n, 'zh', a.regions)}"})


def long_winded() -> list[Answer]:
    return _changed(
        "long-winded", lambda n, a: {"text": " ".join(report(n * 6 + k, "en", a.regions) for k in range(6))}
    )


def taciturn() -> list[Answer]:
    return _changed("taciturn", lambda _, a: {"text": f"Odd {a.regions[0]} here"})


def unqualified() -> list[Answer]:
    nothing = {"verdict": "none_visible", "regions": (), "text": "", "difficulty": None}
    answers = others("unqualified")
    return [replace(a, **nothing) if a.kind is Kind.QUALIFICATION and n % 2 else a for n, a in enumerate(answers)]


def form_filler() -> list[Answer]:
    forms = (
        "On a closer look I would say that the {} does not fit the rest of this picture at all",
        "In my opinion somebody has changed the {} because its colour and light are not the same as around it",
        "As far as I can tell the {} must have been pasted since its border is much too clean",
    )
    return _changed("form-filler", lambda n, a: {"text": forms[n % 3].format(" and the ".join(a.regions))})


def guesser() -> list[Answer]:
    """Writes well, of what was not edited and does not even touch it."""

    def elsewhere(number: int, answer: Answer) -> dict[str, Any]:
        shares = answer.region_shares or {}
        return _about(number, (next(w for w in ("chin", "eye", "forehead") if ground([w], shares).precision == 0),))

    return _changed("guesser", elsewhere)


def _about(number: int, parts: tuple[str, ...]) -> dict[str, Any]:
    return {"regions": parts, "text": report(number, "en", parts)}


def tab_opener() -> list[Answer]:
    return _changed("tab-opener", lambda *_: {"lead_time_s": 99_999.0})


def sleeper() -> list[Answer]:
    answers = others("sleeper")
    apart = [a.submitted + timedelta(hours=2 * n) for n, a in enumerate(answers)]
    return [
        replace(a, submitted=at, updated=at, drafted=at - timedelta(seconds=60), lead_time_s=5000.0)
        for a, at in zip(answers, apart, strict=True)
    ]


def tamperer() -> list[Answer]:
    return _changed("tamperer", lambda *_: {"signals": ("edited_by_another",)})


def gap_leaver() -> list[Answer]:
    return _changed("gap-leaver", lambda *_: {"regions": ()})


def self_verifier() -> list[Answer]:
    own = others("self-verifier")
    return own + verifications(own, "self-verifier")


def peeper() -> list[Answer]:
    """Verifies somebody's report of a record the day before they describe it."""
    own = others("peeper")
    day = timedelta(days=1)
    return [*own, *(replace(verification(a, "peeper", a.submitted - day), about=f"another-{a.uid}") for a in own)]


def rework_taker() -> list[Answer]:
    """Works over what the careful one wrote."""

    def taken(number: int, _: Answer) -> dict[str, Any]:
        place = f"{number - FIRST:04d}"
        return {"record_id": f"record-{place}", "about": f"careful-{place}", "round": 1}

    return _changed("rework-taker", taken)


def verifications(answers: Iterable[Answer], annotator: str) -> list[Answer]:
    """Return one person's verifications of reports, a minute and a half each, from another day on."""
    start = MORNING + timedelta(days=60)
    reports = [a for a in answers if a.verdict == "visible" and a.kind is Kind.ORDINARY]
    return [verification(a, annotator, start + timedelta(seconds=90 * n)) for n, a in enumerate(reports)]


def verification(answer: Answer, annotator: str, at: datetime = MORNING + timedelta(days=60)) -> Answer:
    """Return a verification of an answer."""
    return replace(
        answer, uid=f"{answer.uid}-verified-by-{annotator}", task_key=f"verify-{answer.uid}", annotator=annotator,
        stage="verify", kind=Kind.ORDINARY, submitted=at, updated=at, drafted=None, lead_time_s=45.0, verdict=None,
        regions=(), difficulty=None, match="yes", about=answer.uid, given_sha256=text_sha256(answer.text),
    )  # fmt: skip


# Who is planted, and the rule that must find them.
PLANTED: dict[str, tuple[Callable[[], list[Answer]], str]] = {
    "copy-paster": (copy_paster, "near_duplicate"),
    "rusher": (rusher, "dwell"),
    "always-eyes": (always_eyes, "monotone"),
    "contradictor": (contradictor, "choices"),
    "denier": (denier, "contradiction"),
    "name-dropper": (name_dropper, "identity"),
    "paster": (paster, "near_duplicate"),
    "paster, by speed": (paster, "pasted"),
    "gold-failer": (gold_failer, "checks"),
    "drifter": (drifter, "drift"),
    "mixer": (mixer, "language"),
    "long-winded": (long_winded, "words"),
    "taciturn": (taciturn, "words"),
    "unqualified": (unqualified, "qualification"),
    "form-filler": (form_filler, "template"),
    "guesser": (guesser, "grounding"),
    "tab-opener": (tab_opener, "parallel"),
    "sleeper": (sleeper, "idle"),
    "tamperer": (tamperer, "tampered"),
    "gap-leaver": (gap_leaver, "structure"),
    "self-verifier": (self_verifier, "self_verified"),
    "peeper": (peeper, "informed"),
    "rework-taker": (rework_taker, "anothers_rework"),
}
