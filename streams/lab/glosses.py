"""What the Chinese titles of simulated uploads say, in English, for people who watch the demo."""

from collections.abc import Mapping
from typing import Final

_TABLE: Final = """\
村超进球合集 = All goals of the village league
周末足球赛,最后一分钟点球 = Weekend football, a penalty in the last minute
村BA扣篮大赛 = The village NBA's dunk contest
街球高手的三分球 = A street player's three-pointers
外婆教我做菜:红烧茄子 = Grandma teaches me braised aubergine
十分钟家常菜 = Home cooking in ten minutes
夜市小吃从头吃到尾 = The night market, from end to end
重庆火锅探店 = Trying a Chongqing hotpot place
女团舞翻跳 = Covering a girl group's dance
街舞battle现场 = Live from a street dance battle
我们舞队的新广场舞 = Our team's new square dance
早晨一起跳广场舞 = Square dancing together in the morning
橘猫又偷吃了 = The ginger cat stole food again
柯基的一天 = A day of a corgi
新手化妆教程 = Make-up for beginners
三分钟通勤妆容 = A look for the office in three minutes
秋天显瘦穿搭 = Slimming outfits for autumn
汉服出街 = Out in Hanfu
王者荣耀五杀时刻 = A pentakill in Honor of Kings
和平精英吃鸡瞬间 = Winning a round of Peacekeeper Elite
新车试驾:电动车跑高速 = Test drive: an electric car on the motorway
卡车司机的改装车 = A trucker's rebuilt truck
自驾游川西 = Driving through western Sichuan
古城旅行攻略 = How to see the old town
一个人露营 = Camping alone
徒步穿越峡谷 = Hiking through the gorge
手机摄影小技巧 = Tricks for phone photography
航拍家乡 = My home town from the air
今年的苹果丰收了 = A rich apple harvest this year
拖拉机收割现场 = The tractor brings in the crop
野钓遇到大鱼 = A big fish in the wild
凌晨赶海 = Gathering shellfish before dawn
竹编一只篮子 = Weaving a basket of bamboo
爷爷的木工手艺 = Grandpa's carpentry
办公室搞笑段子 = Office jokes
东北话模仿秀 = Imitating the north-eastern accent
三分钟科普:彩虹 = Rainbows in three minutes
英语口语每日一句 = One English sentence a day
带娃也能很轻松 = Children can be easy
亲子游戏推荐 = Games to play with your child
一家人的年夜饭 = New Year's Eve dinner of a family
四世同堂的中秋 = Four generations at Mid-Autumn
在家健身二十分钟 = Twenty minutes of exercise at home
第一次跑马拉松 = My first marathon
颈椎放松三个动作 = Three moves for a stiff neck
睡前泡脚养生 = A foot bath before bed
楼下大叔的吉他弹唱 = The man downstairs and his guitar
唢呐一响 = When the suona sounds
新手机开箱测评 = Unboxing a new phone
自己做一个机器人 = Building a robot myself
普通人怎么看基金 = Funds, for ordinary people
小店创业记 = How I opened a small shop
国漫混剪 = A cut of Chinese animation
漫展第一天 = First day of the comic fair
一部冷门电影 = A film that nobody knows
追剧十年的我 = Ten years of watching series
博物馆里的三国 = The Three Kingdoms in the museum
文物修复师的一天 = A day of a restorer
我的一天 = My day
打工人的日常 = Everyday life of a worker
祖传秘方,根治失眠? = A family recipe that cures insomnia?
危险动作请勿模仿: = Do not try this at home:
网赌平台上线,下注就送 = Online casino, a gift with your first bet
"""

GLOSSES: Final[Mapping[str, str]] = {
    line.partition(" = ")[0]: line.partition(" = ")[2] for line in _TABLE.splitlines()
}
"""English by Chinese title, or by the beginning that a title may have."""


def gloss(title: str) -> str:
    """Return what a Chinese title says in English, "" for one that needs no gloss.

    >>> gloss("橘猫又偷吃了"), gloss("My puppy meets snow")
    ('The ginger cat stole food again', '')
    """
    if title in GLOSSES:
        return GLOSSES[title]
    beginning, colon, rest = title.partition(":")
    if colon and beginning + colon in GLOSSES:
        return f"{GLOSSES[beginning + colon]} {gloss(rest) or rest}"
    return ""
