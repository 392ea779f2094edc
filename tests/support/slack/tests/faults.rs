//! Faults on demand and by chance, limits, a network that is gone.

use super::*;

#[tokio::test]
async fn faults_meet_the_calls_they_are_meant_for() {
    let office = office().await;
    let fake = &office.fake;
    let texts = || fake.answers(&office.channel).into_iter().map(|shown| shown.text).collect::<Vec<_>>();
    for (fault, expect) in [
        (Fault::ServerError(503), "503"),
        (Fault::Drop, "lost"),
        (Fault::Error("internal_error"), "internal_error"),
        (Fault::LostReceipt, "lost"),
    ] {
        fake.fault("chat.postMessage", fault);
        let answer = office.post(json!({"text": format!("{fault:?}")})).await;
        assert_eq!(answer, Err(expect.to_owned()), "{fault:?}");
    }
    assert_eq!(texts(), ["LostReceipt"]);
    fake.fault("chat.postMessage", Fault::Hang);
    assert!(timeout(SHORT, office.post(json!({"text": "hang"}))).await.is_err());
    fake.fault("chat.postMessage", Fault::RefuseBlocks);
    office.post(json!({"text": "no blocks"})).await.unwrap();
    assert_eq!(fake.faults_left(), 1);
    let blocks = json!({"text": "x", "blocks": [{"type": "divider"}]});
    assert_eq!(office.post(blocks).await, Err("invalid_blocks".to_owned()));
    fake.fault("chat.postMessage", Fault::RetryAfter(7));
    assert_eq!(office.post(json!({"text": "x"})).await, Err("wait 7".to_owned()));
    assert_eq!(fake.violations(), []);
    // The wait is not over.
    assert!(office.post(json!({"text": "x"})).await.unwrap_err().starts_with("wait "));
    assert_eq!(fake.violations().iter().map(|violation| violation.limit).collect::<Vec<_>>(), [Limit::Impatient]);
    let direct = fake.direct(&office.anna);
    fake.fault_in(&direct, "chat.postMessage", Fault::Error("fatal_error"));
    let elsewhere = json!({"channel": direct, "text": "x"});
    assert_eq!(office.call("chat.postMessage", elsewhere).await, Err("fatal_error".to_owned()));
    let last = fake.calls("chat.postMessage").pop().unwrap();
    assert_eq!((last.method.as_str(), &last.parameters["text"]), ("chat.postMessage", &json!("x")));
    assert!(fake.calls("").windows(2).all(|pair| pair[0].at <= pair[1].at));
}

#[tokio::test]
async fn too_many_calls_are_refused_and_remembered() {
    let office = office().await;
    let fake = &office.fake;
    // Longer than the real one, so that a slow machine is not let off.
    fake.set_limits(Some(Limits { post_interval: Duration::from_secs(30), ..Limits::default() }));
    for _ in 0..4 {
        office.post(json!({"text": "x"})).await.unwrap();
    }
    assert!(office.post(json!({"text": "x"})).await.unwrap_err().starts_with("wait "));
    let violations = fake.violations();
    assert_eq!((violations.len(), violations[0].limit), (1, Limit::Posts));
    assert_eq!(violations[0].channel.as_ref(), Some(&office.channel));
    assert!(violations[0].retry_after.is_some_and(|seconds| (1..=30).contains(&seconds)));
    // Another channel has a count of its own.
    let direct = fake.direct(&office.anna);
    office.call("chat.postMessage", json!({"channel": direct, "text": "x"})).await.unwrap();
    fake.set_limits(Some(Limits { tiers: 0.1, ..Limits::default() }));
    let ts = fake.answers(&direct)[0].ts.clone();
    for _ in 0..5 {
        office.call("chat.update", json!({"channel": direct, "ts": ts, "text": "y"})).await.unwrap();
    }
    let refused = office.call("chat.update", json!({"channel": direct, "ts": ts, "text": "y"})).await.unwrap_err();
    assert!(refused.starts_with("wait "), "{refused}");
    assert_eq!(fake.violations().last().unwrap().limit, Limit::Tier);
}

#[tokio::test]
async fn faults_by_chance_are_the_same_for_the_same_seed() {
    let run = async |seed: u64| {
        let office = office().await;
        office.fake.set_limits(None);
        office.fake.faults_by_chance(seed, 0.5, &[Fault::ServerError(500), Fault::Error("fatal_error")]);
        let mut answers = Vec::new();
        for _ in 0..20 {
            answers.push(office.post(json!({"text": "x"})).await.err());
        }
        office.fake.faults_by_chance(seed, 0.0, &[]);
        office.post(json!({"text": "x"})).await.unwrap();
        answers
    };
    let answers = run(7).await;
    assert_eq!(answers, run(7).await);
    assert_ne!(answers, run(8).await);
    for expect in [None, Some("500".to_owned()), Some("fatal_error".to_owned())] {
        assert!(answers.contains(&expect), "{answers:?}");
    }
}

#[tokio::test]
async fn without_a_network_nothing_is_reached() {
    let office = office().await;
    let fake = &office.fake;
    let mut socket = office.socket().await;
    fake.set_network(false);
    assert_eq!(socket.look(PATIENCE).await, None);
    assert_eq!(office.post(json!({"text": "x"})).await, Err("lost".to_owned()));
    fake.set_network(true);
    office.post(json!({"text": "x"})).await.unwrap();
    assert_eq!(office.socket().await.event().await["text"], "x");
}
