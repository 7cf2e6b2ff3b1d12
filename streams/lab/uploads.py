"""What simulated creators upload: titles, hashtags and music in Chinese and English, by subject."""

from collections.abc import Mapping
from random import Random
from typing import Final, NamedTuple

from streams.core.events import Music, Upload

SHORTEST_MS: Final = 6_000
LONGEST_MS: Final = 590_000


class Subject(NamedTuple):
    """What videos about one thing are called; a title and one or two of the hashtags are taken."""

    titles: tuple[str, ...]
    hashtags: tuple[str, ...]


_TABLE: Final = """\
football: 村超进球合集 | 周末足球赛,最后一分钟点球 | A free kick to remember # 足球 football
basketball: 村BA扣篮大赛 | 街球高手的三分球 | Slam dunk at the old court # 篮球 basketball
cooking: 外婆教我做菜:红烧茄子 | 十分钟家常菜 | A stir fry for two # 家常菜 cooking
food: 夜市小吃从头吃到尾 | 重庆火锅探店 | Street food under five yuan # 美食 streetfood
dance: 女团舞翻跳 | 街舞battle现场 | Learning this choreography in a day # 舞蹈 dance
square-dance: 我们舞队的新广场舞 | 早晨一起跳广场舞 | Square dance by the river # 广场舞 squaredance
pets: 橘猫又偷吃了 | 柯基的一天 | My puppy meets snow # 萌宠 dogs
beauty: 新手化妆教程 | 三分钟通勤妆容 | Get the look: soft makeup # 美妆 makeup
fashion: 秋天显瘦穿搭 | 汉服出街 | Three outfits, one jacket # 穿搭 ootd
gaming: 王者荣耀五杀时刻 | 和平精英吃鸡瞬间 | A Minecraft castle in a week # 游戏 gaming
cars: 新车试驾:电动车跑高速 | 卡车司机的改装车 | Restoring a forgotten car # 汽车 cars
travel: 自驾游川西 | 古城旅行攻略 | Road trip along the coast # 旅行 travel
outdoor: 一个人露营 | 徒步穿越峡谷 | Camping in the rain # 户外 hiking
photography: 手机摄影小技巧 | 航拍家乡 | A timelapse of the harbour # 摄影 photography
farming: 今年的苹果丰收了 | 拖拉机收割现场 | Harvest day on our farm # 三农 farming
fishing: 野钓遇到大鱼 | 凌晨赶海 | Ice fishing with grandpa's rod # 钓鱼 fishing
handicraft: 竹编一只篮子 | 爷爷的木工手艺 | Pottery for beginners # 手工 handmade
comedy: 办公室搞笑段子 | 东北话模仿秀 | The prank that backfired # 搞笑 comedy
education: 三分钟科普:彩虹 | 英语口语每日一句 | Math without tears # 知识 learning
parenting: 带娃也能很轻松 | 亲子游戏推荐 | Notes on calm parenting # 育儿 parenting
family: 一家人的年夜饭 | 四世同堂的中秋 | Family dinner at last # 家人 family
fitness: 在家健身二十分钟 | 第一次跑马拉松 | A workout without weights # 健身 fitness
health: 颈椎放松三个动作 | 睡前泡脚养生 | Small steps to wellness # 健康 wellness
music: 楼下大叔的吉他弹唱 | 唢呐一响 | A piano in the station # 翻唱 livemusic
technology: 新手机开箱测评 | 自己做一个机器人 | Unboxing a tiny computer # 科技 tech
finance: 普通人怎么看基金 | 小店创业记 | Household money tips # 理财 finance
anime: 国漫混剪 | 漫展第一天 | Drawing anime eyes # 动漫 anime
film: 一部冷门电影 | 追剧十年的我 | A film review in one minute # 影视 film
history: 博物馆里的三国 | 文物修复师的一天 | An ancient bridge explained # 历史 history
dailylife: 我的一天 | 打工人的日常 | A slow day, a vlog # 日常 vlog
"""


def _read(table: str) -> dict[str, Subject]:
    subjects: dict[str, Subject] = {}
    for line in table.splitlines():
        name, _, rest = line.partition(": ")
        titles, _, hashtags = rest.partition(" # ")
        subjects[name] = Subject(tuple(titles.split(" | ")), tuple(hashtags.split()))
    return subjects


SUBJECTS: Final[Mapping[str, Subject]] = _read(_TABLE)
"""Subjects by the group of `discover` whose crowd they are meant for."""

DOUBTFUL: Final = "祖传秘方,根治失眠?"
"""A title that a moderator must look at."""
DARING: Final = "危险动作请勿模仿:"
"""The beginning of a title that only followers may see."""
FORBIDDEN: Final = "网赌平台上线,下注就送"
"""A title that no rule lets through."""

_MUSIC: Final = (
    Music("孤勇者", "陈奕迅", "pop"),
    Music("最炫民族风", "凤凰传奇", "square dance music"),
    Music("Night Drive", "", "edm"),
    Music("山歌好比春江水", "", "folk"),
    Music("雨的印记", "", "piano solo"),
    Music("Boom Bap", "", "hip hop"),
)
_SCENES: Final = ("家里", "街头", "乡村", "公园", "海边", "", "", "")


def draw_upload(chance: Random, number: int, subject: str, city: str, now_ms: int) -> Upload:
    """Return the upload of an ordinary video about `subject`, one of `SUBJECTS`.

    Length and followers have the spread of KuaiRand's (CC BY-SA 4.0) videos and users: medians of
    about a minute and of fifty, tails of minutes and of a hundred thousand.
    """
    words = SUBJECTS[subject]
    return Upload(
        id=f"up-{number}",
        video=f"{subject}-{number}",
        creator=f"creator-{chance.randrange(10_000)}",
        ts=now_ms,
        duration_ms=_clamp(chance.lognormvariate(10.9, 0.9), SHORTEST_MS, LONGEST_MS),
        title=chance.choice(words.titles),
        hashtags=tuple(chance.sample(words.hashtags, chance.choice((1, 2, 2)))),
        music=chance.choice((None, *_MUSIC)),
        scene=chance.choice(_SCENES),
        city=city,
        followers=_clamp(chance.lognormvariate(4.0, 2.2), 10, 5_000_000),
    )


def _clamp(value: float, least: int, most: int) -> int:
    return min(max(int(value), least), most)
