"""Vectors, ranks and scores."""

import asyncio
from pathlib import Path

import pytest

import llama_concurrent as llama
from llama_concurrent import AsyncEngine, Engine, InvalidRequest, PromptTooLong

numpy = pytest.importorskip("numpy")

RERANKER = Path(__file__).resolve().parents[3] / "models" / "rerank.gguf"


@pytest.fixture(scope="module")
def engine():
    with Engine(slots=2, threads=1) as engine:
        yield engine


def test_texts_are_arrays(engine):
    one = engine.embed("A fox")
    assert one.dtype == numpy.float32 and one.ndim == 1 and abs(numpy.linalg.norm(one) - 1) < 1e-5
    told = []
    several = engine.embed(["A fox", "A boat", "A fox"], progress=lambda done, total: told.append((done, total)))
    assert several.shape == (3, len(one)) and told[-1] == (3, 3)
    assert numpy.allclose(several[0], one, atol=1e-3) and numpy.allclose(several[0], several[2], atol=1e-3)
    assert not numpy.allclose(several[0], several[1], atol=1e-2)
    several[0] = 0  # it is the caller's own
    assert engine.embed([]).shape == (0, 0)
    assert engine.embed(text for text in ["A fox"]).shape == (1, len(one))


def test_pooling(engine):
    tokens = engine.embed("A fox in the snow", pooling="none")
    assert tokens.ndim == 2 and tokens.shape[0] == len(engine.tokenize("A fox in the snow"))
    last = engine.embed("A fox in the snow", pooling="last", normalize=False)
    assert numpy.allclose(tokens[-1], last, rtol=1e-2, atol=1e-2)
    lists = engine.embed(["A fox", "A fox in the snow"], pooling="none")
    assert [rows.ndim for rows in lists] == [2, 2] and len(lists[0]) < len(lists[1])
    with pytest.raises(InvalidRequest, match="pooling"):
        engine.embed("A fox", pooling="max")


def test_what_is_wrong_with_one_text_is_raised(engine):
    with pytest.raises(PromptTooLong) as raised:
        engine.embed(["A fox", "sea " * 5000])
    if hasattr(raised.value, "__notes__"):
        assert raised.value.__notes__ == ["in number 1 of the list"]
    with pytest.raises(PromptTooLong):
        engine.embed("sea " * 5000)
    with pytest.raises(TypeError, match="progress"):
        engine.embed("A fox", progress=3)

    def refuse(done, total):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        engine.embed(["A fox"] * 50, progress=refuse)
    assert engine.embed("A fox").ndim == 1, "it goes on"


def test_continuations_are_scored(engine):
    likely, unlikely = engine.score("Once upon a", [" time", " xylophone"])
    assert likely.is_greedy and not unlikely.is_greedy and unlikely.logprob < likely.logprob <= 0
    assert len(unlikely.tokens) == len(unlikely.logprobs) and abs(sum(unlikely.logprobs) - unlikely.logprob) < 1e-3
    assert engine.score("Once upon a", []) == []
    with pytest.raises(TypeError, match="continuations"):
        engine.score("Once upon a", " time")
    with pytest.raises(InvalidRequest, match="empty"):
        engine.score("Once upon a", [""])


def test_documents_are_ranked():
    documents = ["The boat has a red sail.", "A fox eats mice and berries.", "It rained all day."]
    with Engine(RERANKER, threads=1) as engine:
        ranks = engine.rerank("What does a fox eat?", documents)
        assert sorted(rank.index for rank in ranks) == [0, 1, 2] and ranks[0].index == 1
        assert [rank.score for rank in ranks] == sorted((rank.score for rank in ranks), reverse=True)
        best = engine.rerank("What does a fox eat?", iter(documents), top_n=1)
        assert [rank.index for rank in best] == [1]
        assert engine.embed(documents).shape[0] == 3
        with pytest.raises(InvalidRequest, match="encoder"):
            engine.generate("A fox")
        with pytest.raises(TypeError, match="documents"):
            engine.rerank("fox", "boat")


def test_a_model_without_a_rank_head_ranks_nothing(engine):
    with pytest.raises(InvalidRequest, match="no head that ranks"):
        engine.rerank("fox", ["boat"])


async def test_tasks_have_them_too():
    async with await AsyncEngine.load(slots=2, threads=1) as engine:
        vectors, scores = await asyncio.gather(
            engine.embed(["A fox", "A boat"]), engine.score("Once upon a", [" time", " xylophone"])
        )
        assert vectors.shape[0] == 2 and scores[0].logprob > scores[1].logprob
        with pytest.raises(InvalidRequest):
            await engine.rerank("fox", ["boat"])
        task = asyncio.create_task(engine.embed(["A long walk in the hills. " * 30] * 400))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await engine.embed("A fox")).ndim == 1


def test_they_are_public():
    assert llama.Rank(0, 1.0).score == 1.0 and llama.Score(-1.0, False, [1], [-1.0]).tokens == [1]
