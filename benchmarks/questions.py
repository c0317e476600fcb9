"""Made-up questions and answers on a bank's services, as local data for ``m3e-eval``.

A question is about what is done (an action) to what (an aspect) of what (a service), each with two names in
Chinese. How much two texts have in common in these is known, so that similarities and rankings can be judged.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["write_questions"]

_SERVICES = (
    *(("信用卡", "贷记卡"), ("借记卡", "储蓄卡"), ("手机银行", "移动银行"), ("网上银行", "网银")),
    *(("花呗", "消费信贷"), ("借呗", "小额借款"), ("余额宝", "货币基金"), ("支付宝", "电子钱包")),
    *(("房屋贷款", "按揭"), ("汽车贷款", "车贷"), ("定期存款", "整存整取"), ("理财产品", "投资产品")),
    *(("短信通知", "消息提醒"), ("养老保险", "退休金"), ("医疗保险", "医保"), ("公积金", "住房基金")),
    *(("证券账户", "股票户头"), ("外汇业务", "外币兑换"), ("商户收款", "收单服务"), ("会员积分", "客户奖励")),
)
_ASPECTS = (
    *(("密码", "口令"), ("额度", "限额"), ("账单", "明细"), ("绑定手机号", "预留电话")),
    *(("利率", "利息标准"), ("手续费", "服务费"), ("还款日", "缴款日期"), ("个人资料", "身份信息")),
    *(("自动扣款", "代扣"), ("电子发票", "票据"), ("到期时间", "有效期"), ("优惠活动", "折扣")),
)
_ACTIONS = (
    *(("查询", "查看"), ("修改", "更换"), ("取消", "关闭"), ("开通", "启用"), ("申请", "办理")),
    *(("恢复", "找回"), ("提高", "调高"), ("打印", "导出"), ("确认", "核实"), ("延长", "推迟")),
)
_QUESTIONS = (
    "{service}的{aspect}怎么{action}",
    "请问如何{action}{service}{aspect}",
    "我想{action}一下{service}的{aspect}应该怎么办",
    "{action}{service}{aspect}需要什么材料",
    "为什么不能{action}我的{service}{aspect}",
)
_ANSWERS = (
    "{action}{service}{aspect}的方法是登录以后进入服务大厅选择{service}再点击{aspect}按照提示完成即可",
    "客户可以携带有效证件到任意网点柜台{action}{service}的{aspect}一般三个工作日之内生效",
    "{service}支持在线{action}{aspect}打开应用首页找到设置并输入验证码通过以后系统会立刻处理",
    "如果需要{action}{aspect}请拨打客服热线人工坐席核对{service}信息之后会为您登记请保持电话畅通",
)

Topic = tuple[int, int, int]


def write_questions(folder: Path, queries: int, passages: int, pairs: int) -> list[Path]:
    """Write retrieval.jsonl, similarity.jsonl and pairs.jsonl, always the same; return the files.

    Args:
        folder: where to; it is there.
        queries: questions to find answers to.
        passages: answers to choose from; more than ``queries``.
        pairs: pairs of questions in each of the other files.
    """
    random = np.random.default_rng(2023)
    topics = list(itertools.product(*(range(len(each)) for each in (_SERVICES, _ASPECTS, _ACTIONS))))
    chosen = [topics[i] for i in random.permutation(len(topics))[:passages]]
    contents = {
        "retrieval.jsonl": _retrieval(random, chosen, queries),
        "similarity.jsonl": _similarity(random, topics, pairs),
        "pairs.jsonl": _pairs(random, topics, pairs),
    }
    return [_write(folder / name, rows) for name, rows in contents.items()]


def _retrieval(random: np.random.Generator, topics: list[Topic], queries: int) -> Iterator[dict[str, Any]]:
    """The answer to the question itself is worth 2, one of the same service and aspect 1, others 0."""
    answers = {topic: _text(random, topic, _ANSWERS) for topic in topics}
    for asked in topics[:queries]:
        question = _text(random, asked, _QUESTIONS)
        for topic in topics:
            relevance = 2 if topic == asked else int(topic[:2] == asked[:2])
            if relevance:
                yield {"query": question, "passage": answers[topic], "relevance": relevance}
    # Every passage is to be searched: one that no question asks for is judged for the last one.
    judged = set(topics[:queries]) | {t for t in topics if any(t[:2] == a[:2] for a in topics[:queries])}
    for topic in topics:
        if topic not in judged:
            yield {"query": question, "passage": answers[topic], "relevance": 0}


def _similarity(random: np.random.Generator, topics: list[Topic], pairs: int) -> Iterator[dict[str, Any]]:
    """The score is how many of service, aspect and action two questions share."""
    for _ in range(pairs):
        first = topics[random.integers(len(topics))]
        kept = random.integers(0, 2, 3)
        other = topics[random.integers(len(topics))]
        second = tuple(a if keep else b for a, b, keep in zip(first, other, kept, strict=True))
        texts = (_text(random, topic, _QUESTIONS) for topic in (first, second))
        score = sum(a == b for a, b in zip(first, second, strict=True))
        yield dict(zip(("text1", "text2", "score"), (*texts, score), strict=True))


def _pairs(random: np.random.Generator, topics: list[Topic], pairs: int) -> Iterator[dict[str, Any]]:
    """Label 1: the same question in other words. Label 0: two of the three parts are the same."""
    for number in range(pairs):
        first = second = topics[random.integers(len(topics))]
        if number % 2:
            part = int(random.integers(3))
            value = random.integers(1, len((_SERVICES, _ASPECTS, _ACTIONS)[part]))
            moved = (first[part] + int(value)) % len((_SERVICES, _ASPECTS, _ACTIONS)[part])
            second = (*first[:part], moved, *first[part + 1 :])
        texts = [_text(random, topic, _QUESTIONS) for topic in (first, second)]
        yield {"text1": texts[0], "text2": texts[1], "label": int(first == second)}


def _text(random: np.random.Generator, topic: Topic, templates: tuple[str, ...]) -> str:
    service, aspect, action = (
        names[index][random.integers(2)]
        for names, index in zip((_SERVICES, _ASPECTS, _ACTIONS), topic, strict=True)
    )
    template = templates[random.integers(len(templates))]
    return template.format(service=service, aspect=aspect, action=action)


def _write(file: Path, rows: Iterable[dict[str, Any]]) -> Path:
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    file.write_text("".join(lines), encoding="utf-8")
    return file
