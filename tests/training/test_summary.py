from mentor_pyg.training import summarize


def test_summarize() -> None:
    metrics = {
        "val": {"recall@10": 0.5, "ndcg@20": 0.123456},
        "test": {"recall@10": 1.0, "ndcg@20": 0.0},
        "best_epoch": 7,
        "seconds": 61.7,
        "config": {},
    }
    assert summarize(metrics, "runs/one").splitlines() == [
        "best epoch 7, chosen on validation, after 62 s; written to runs/one",
        "                 val    test",
        "recall@10     0.5000  1.0000",
        "ndcg@20       0.1235  0.0000",
    ]
