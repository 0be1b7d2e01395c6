"""Texts to read: Chinese, Arabic, and the English of Python's own manual."""

import pydoc_data.topics
import re
from functools import cache

import numpy as np

CHINESE = """张三在北京市海淀区的一家软件公司工作了十年。
昨天下午，上海迎来了今年第一场大雪。
李明和王芳计划明年春天去云南旅游。
中国科学院的研究人员发表了一篇关于气候变化的论文。
这家餐厅的红烧肉非常好吃，价格也不贵。
小王每天早上七点坐地铁去学校上课。
根据最新统计，全国粮食产量比去年增长了百分之三。
他把书放在桌子上，然后慢慢地走出了房间。
清华大学和北京大学都是世界著名的高等学府。
医生建议他多喝水，少吃油腻的食物。
鲁迅的小说《狂人日记》发表于一九一八年。
广州的夏天又热又潮湿，经常下雷阵雨。
公司决定在杭州建立新的研发中心。
孩子们在公园里放风筝，玩得非常开心。
火车将于晚上八点三十分到达南京站。
这本词典收录了五万多个词语和成语。
她终于实现了当一名律师的梦想。
联合国秘书长呼吁各国加强合作。
长江是亚洲最长的河流，流经十一个省市。
我们应该保护环境，节约用水用电。
昨晚的足球比赛以二比一结束，主队获胜。
刘备、关羽和张飞在桃园结为兄弟。
新款手机的电池可以使用两天左右。
妈妈做的饺子是我最喜欢的家常菜。
由于大雾，首都机场的多个航班被迫取消。
老师让学生们用自己的话复述这个故事。
西藏高原上的空气稀薄，但风景十分壮丽。
他花了三千块钱买了一辆二手自行车。
华为公司在深圳举行了新产品发布会。
图书馆里安静得连翻书的声音都能听见。
银行下个月将上调住房贷款利率。
春节期间，人们走亲访友，互相拜年。""".splitlines()

ARABIC = """ذهب الولد إلى المدرسة في الصباح الباكر
يعيش الناس في المدن الكبيرة حياة سريعة
كتب الشاعر قصيدة جميلة عن الوطن
تشرق الشمس من الشرق وتغرب في الغرب
قرأت الطالبة كتابا مفيدا في المكتبة
العلم نور والجهل ظلام
سافر أخي إلى القاهرة قبل شهرين
يحب الأطفال اللعب في الحديقة العامة
اجتمع الوزراء لمناقشة الوضع الاقتصادي
كان المطر ينهمر بغزارة طوال الليل
تعلمت اللغة العربية في الجامعة
افتتح الرئيس المستشفى الجديد أمس
الصبر مفتاح الفرج
يزرع الفلاح القمح في فصل الشتاء
أعلنت الشركة عن أرباحها السنوية
رأيت رجلا يبيع الفاكهة في السوق
تقع المدينة على ساحل البحر المتوسط
حفظ التلميذ القصيدة عن ظهر قلب
وصل القطار متأخرا ساعة كاملة
شرب المسافر الماء البارد بعد رحلة طويلة
كل إنسان مسؤول عن عمله
بنى المهندس جسرا فوق النهر
استمعنا إلى محاضرة عن تاريخ الأندلس
فاز الفريق الوطني بكأس البطولة""".splitlines()


@cache
def english() -> list[str]:
    """Sentences of Python's manual, six to forty words each, in an order that looks like none."""
    text = " ".join(" ".join(pydoc_data.topics.topics[name].split()) for name in sorted(pydoc_data.topics.topics))
    found = re.findall(r"(?<=[.!?] )[A-Z][A-Za-z0-9,;:'\"() -]{30,240}[.!?](?= )", text)
    found = [sentence for sentence in dict.fromkeys(found) if 6 <= len(sentence.split()) <= 40]
    return [found[place] for place in np.random.default_rng(0).permutation(len(found))]


def half(lines: list[str], seed: int) -> list[str]:
    """Every second line: others for another seed (1 or 2)."""
    return lines[seed % 2 :: 2]


CONFUSED = {
    "than": "then", "then": "than", "their": "there", "there": "their", "its": "it's", "to": "too", "a": "an",
    "an": "a", "is": "are", "are": "is", "has": "have", "have": "has", "was": "were", "were": "was",
}  # fmt: skip


def misspelt(sentence: str, random: np.random.Generator) -> str:
    """A sentence with a word taken for another one, and one doubled or left out, or its first letter small."""
    words = sentence.split()
    places = [place for place, word in enumerate(words) if word in CONFUSED]
    if places:
        place = int(random.choice(places))
        words[place] = CONFUSED[words[place]]
    place = int(random.integers(1, len(words)))
    change = int(random.integers(3))
    if change == 2:
        words[0] = words[0].lower()
    else:
        words[place : place + 1] = [words[place]] * (2 * change)
    return " ".join(words)


def word_pieces(sentence: str, vocabulary: dict[str, int]) -> list[int]:
    """A sentence's codes in BERT's vocabulary of pieces, between [CLS] and [SEP]: the longest that fit, greedily."""
    codes = [vocabulary["[CLS]"]]
    for word in re.findall(r"\w+|[^\w\s]", sentence):
        at, pieces = 0, []
        while at < len(word):
            end = next((e for e in range(len(word), at, -1) if ("##" * (at > 0)) + word[at:e] in vocabulary), None)
            if end is None:
                pieces = [vocabulary["[UNK]"]]
                break
            pieces.append(vocabulary[("##" * (at > 0)) + word[at:end]])
            at = end
        codes += pieces
    return [*codes, vocabulary["[SEP]"]]


def drawn_codes(random: np.random.Generator) -> list[int]:
    """As a sentence in bert-base-uncased's vocabulary, which no package has: words from 1996 on, by their frequency.

    Its codes go by frequency, so that ranks drawn by Zipf's law make rows as often used as in texts.
    """
    ranks = np.exp(random.uniform(0, np.log(27500), random.integers(8, 32))).astype(int)
    return [101, *(1995 + ranks).tolist(), 1012, 102]
