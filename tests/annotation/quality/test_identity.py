import pytest

from annotation.quality.identity import hits_in, identity
from tests.annotation.planted import CHINESE, ENGLISH, case, make_answer

NAMES = [
    "He looks like Tom Sawyer with another nose.",
    "It resembles Napoleon around the mouth.",
    "Reminds me of Cleopatra, the eyes at least.",
    "Mr. Darcy has a blurred chin.",
    "The jaw of Mrs Bennet is bent.",
    "Dr Watson's left ear is doubled.",
    "Elizabeth has one eye higher than the other.",
    "The nose is that of obama, clearly.",
    "Somebody called Ishmael, his beard is smeared.",
    "This is a celebrity and the lips are pasted.",
    "A famous actor with a wrong forehead.",
    "王先生的左眼模糊。",
    "李小明老师的嘴唇不对称。",
    "他名叫诸葛亮，胡须是贴上去的。",
    "鼻子像成龙，边缘模糊。",
    "这是一位明星，下巴被修改过。",
    "看起来像王小波。",
]
CONTACT = [
    "Ask me at ann.other+x@example.org about the chin.",
    "See https://example.org/face for the nose.",
    "More at www.example.org about this ear.",
    "The watermark says example.com over the cheek.",
    "The chin is odd, says @somebody there.",
    "Call 555 010 9999 12 about the forehead.",
    "Call +49 30 1234567 about the forehead.",
    "加微信：abc12345 讨论这张脸。",
    "QQ 12345678 联系我看下巴。",
]
ATTRIBUTES = {
    "ethnicity": [
        "An Asian woman with a smeared eye.",
        "The Caucasian face has a darker chin.",
        "She is probably Korean, the eyelid is doubled.",
        "A black man whose lips are pasted.",
        "The dark-skinned person has pale ears.",
        "African American, with a lighter forehead.",
        "His race does not fit the nose.",
        "这个黑人的嘴唇偏亮。",
        "亚洲女性的眼皮重影。",
        "像是混血，鼻子偏高。",
        "一个日本人，眉毛模糊。",
    ],
    "religion": [
        "A Muslim with a doubled beard.",
        "The Jewish man has a pasted nose.",
        "A nun; the chin is cut off.",
        "看起来是基督徒，额头有接缝。",
    ],
    "health": [
        "She has cancer, and no eyebrows.",
        "Seems autistic; the eyes point apart.",
        "The patient has a bent jaw.",
        "A pregnant woman with wrong lips.",
        "He looks sick and his cheek is green.",
        "像是中风患者，嘴角歪斜。",
        "这个孕妇的脸颊模糊。",
    ],
    "sexuality": ["He looks gay, the lips are too red.", "A lesbian with a blurred chin.", "像同性恋，嘴唇颜色过艳。"],
    "age": [
        "An old man with young hands, the cheek is smooth.",
        "The little girl has a beard shadow.",
        "A teenager with wrinkles on the forehead.",
        "A 40-year-old with the mouth of somebody else.",
        "In her fifties, but the neck is smooth.",
        "这位老人的额头没有皱纹。",
        "小男孩的下巴有胡茬。",
        "大约三十岁，鼻梁模糊。",
    ],
    "insult": ["What an idiot, the nose is huge.", "An ugly man with a pasted ear.", "这个胖子的下巴有接缝。"],
}
HARMLESS = [
    "A Roman nose that is pasted a little too low.",
    "The Greek nose has a seam along its bridge.",
    "The iris has the colour of an African violet.",
    "There is a skin tone mismatch at the jaw.",
    "Skin tone: the forehead is darker than the chin.",
    "The Adam's apple is missing its shadow.",
    "The beard line is cut off in a straight border.",
    "Cupid's bow is smeared on the upper lip.",
    "Crow's feet stop at the border of the patch.",
    "The widow's peak is drawn twice.",
    "Black spots on the white of the eye.",
    "The black hair turns brown where it meets the forehead.",
    "White patches around the mouth, brown ones on the chin.",
    "Baby hairs at the hairline are smeared into one.",
    "A depression in the cheek casts no shadow.",
    "The brush strokes on the chin repeat.",
    "It looks like Photoshop was used on the lips.",
    "Looks like Gaussian blur around the nose.",
    "The border shows JPEG blocks, maybe a GAN made it.",
    "Poisson Blending left a halo around the mouth.",
    "Left Eye: iris too large. Right Eye: fine.",
    "The Left Eyebrow is higher than the Right Eyebrow.",
    "Nose Bridge Too Wide, Upper Lip Blurred, Chin Has Double Edge",
    "Smooth cheeks. Odd nostrils. Bent jaw. No pores anywhere.",
    "EYES DO NOT MATCH, THE MOUTH IS PASTED.",
    "The eye looks like it was pasted.",
    "The nose looks like plastic and the lips like wax.",
    "The face is unremarkable but for the cheek.",
    "Traces of erasing along the jaw, a trace of green as well.",
    "Chinese characters of a watermark shine through the cheek.",
    "The chin looks like a child's drawing.",
    "The older skin of the neck does not fit the smooth cheek.",
    "It is 3.5 times as sharp, at about 120, 340 in the picture.",
    "The mouth is 1024 x 768 in one half and 512 x 384 in the other.",
    "I will mark the chin; a rose tint on the cheek may be make-up.",
    "His iris is hazel on one side and violet on the other.",
    "Compared with the left one, the right ear has no lobe.",
    "Mis-aligned teeth. Missing tongue. Mirrored ear.",
    "The person's left nostril is closed.",
    "罗马鼻的鼻梁处有接缝。",
    "脸颊带着婴儿肥，边缘却过于锐利。",
    "老人斑只出现在半边脸上。",
    "左眼的黄色高光位置不对。",
    "图中风格不一致，嘴唇像画上去的。",
    "肤色与脖子不一致，下颌处有接缝。",
    "胡子像贴上去的，边缘发白。",
    "刘海像王冠，遮住了额头的接缝。",
    "苍白人脸上的嘴唇颜色过深。",
    "看向镜头的方向不对，瞳孔偏移。",
    "皮肤像石膏，毛孔消失。",
    "眉毛减少，女性化的线条有锯齿。",
]  # fmt: skip


@pytest.mark.parametrize("text", NAMES)
def test_a_name_is_found(text):
    assert {hit.kind for hit in hits_in(text)} & {"name", "fame"}


@pytest.mark.parametrize("text", CONTACT)
def test_contact_data_is_found(text):
    assert {hit.kind for hit in hits_in(text)} & {"e-mail", "address", "handle", "phone", "account"}


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in ATTRIBUTES.items() for text in texts])
def test_a_guess_about_the_kind_of_person_is_found(kind, text):
    assert kind in {hit.kind for hit in hits_in(text)}


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_like_a_name_or_a_group_is_left_alone(text):
    assert hits_in(text) == []


def test_no_sentence_of_a_careful_annotator_is_found():
    assert [s for s in (*ENGLISH, *CHINESE) if hits_in(s.format(part="nose"))] == []


def test_two_unknown_capitals_are_doubtful_and_held():
    (doubtful,) = identity(case(make_answer(text="The chin of this person, Hercule Poirot, is bent.")))
    assert doubtful.effect == "hold"
    (sure,) = identity(case(make_answer(text="Mr. Poirot has a bent chin.")))
    assert sure.effect is None


def test_a_borrowed_word_is_found_in_either_language():
    assert hits_in("左眼模糊，he is an Asian man。")
    assert hits_in("The eye is smeared, 是个老太太.")
