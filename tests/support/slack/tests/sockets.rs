//! Sockets: what comes again, over which one, and what a dead one does.

use super::*;

#[tokio::test]
async fn what_is_not_taken_comes_again_over_the_other_socket() {
    let office = office().await;
    let fake = &office.fake;
    fake.set_redelivery(SHORT, 2);
    let (mut first, mut second) = (office.socket().await, office.socket().await);
    fake.route(Routing::Oldest);
    fake.say(&office.channel, &office.anna, "ciao", Said::default());
    let (once, again) = (first.next().await, second.next().await);
    assert_eq!(once["payload"], again["payload"]);
    assert_eq!((&once["retry_attempt"], &again["retry_attempt"]), (&json!(0), &json!(1)));
    // Late is not too late.
    first.ack(&once).await;
    assert!(fake.wait_until(|fake| fake.pending_events() == 0, PATIENCE).await);
    assert_eq!(fake.ack_delays()[0].retry, 1);

    fake.say(&office.channel, &office.anna, "nobody takes this", Said::default());
    assert!(fake.wait_until(|fake| fake.untaken().len() == 1, PATIENCE).await);
    assert_eq!(fake.untaken()[0].deliveries, 2);
}

#[tokio::test]
async fn a_socket_that_ends_hands_its_events_on() {
    let office = office().await;
    let fake = &office.fake;
    let mut first = office.socket().await;
    fake.say(&office.channel, &office.anna, "ciao", Said::default());
    let once = first.next().await;
    drop(first);
    let mut second = office.socket().await;
    assert_eq!(second.next().await["payload"], once["payload"]);
}

#[tokio::test]
async fn events_come_twice_or_in_another_order_on_demand() {
    let office = office().await;
    let fake = &office.fake;
    let (mut first, mut second) = (office.socket().await, office.socket().await);
    fake.duplicate(1);
    fake.say(&office.channel, &office.anna, "twice", Said::default());
    let (one, other) = (first.next().await, second.next().await);
    assert_eq!(one["payload"]["event_id"], other["payload"]["event_id"]);
    assert_ne!(one["envelope_id"], other["envelope_id"]);
    first.ack(&one).await;
    second.ack(&other).await;
    assert!(fake.wait_until(|fake| fake.pending_events() == 0, PATIENCE).await);

    drop(second);
    assert!(fake.wait_until(|fake| fake.sockets() == 1, PATIENCE).await);
    fake.out_of_order();
    fake.say(&office.channel, &office.anna, "first", Said::default());
    fake.say(&office.channel, &office.anna, "second", Said::default());
    assert_eq!(first.event().await["text"], "second");
    assert_eq!(first.event().await["text"], "first");
}

#[tokio::test]
async fn a_dead_socket_stays_silent() {
    let office = office().await;
    let fake = &office.fake;
    fake.set_ping_interval(Duration::from_millis(5));
    let mut dead = office.socket().await;
    assert_eq!(fake.half_open(), 1);
    fake.say(&office.channel, &office.anna, "ciao", Said::default());
    dead.0.send(Frame::Ping("hello?".into())).await.unwrap();
    assert_eq!(dead.look(SHORT).await, None);
    fake.set_redelivery(SHORT, 4);
    let mut living = office.socket().await;
    fake.say(&office.channel, &office.anna, "salve", Said::default());
    assert_eq!(living.event().await["text"], "salve");
}

#[tokio::test]
async fn sockets_are_told_to_go_and_refused() {
    let office = office().await;
    let fake = &office.fake;
    let mut old = office.socket().await;
    assert_eq!(fake.disconnect("refresh_requested"), 1);
    let frame = old.next().await;
    assert_eq!((&frame["type"], &frame["reason"]), (&json!("disconnect"), &json!("refresh_requested")));
    fake.say(&office.channel, &office.anna, "ciao", Said::default());
    let mut new = office.socket().await;
    assert_eq!(new.event().await["text"], "ciao");
    fake.send_event(json!({"type": "tokens_revoked", "tokens": {"bot": [fake.bot_user()]}}));
    let frame = new.next().await;
    assert_eq!(frame["payload"]["event"]["type"], "tokens_revoked");
    new.ack(&frame).await;
    // The old one was told already.
    assert_eq!(fake.disconnect_one("warning"), 1);
    assert_eq!(new.next().await["reason"], "warning");

    fake.refuse_connections(1);
    let open = || office.call_with(fake.app_token(), "apps.connections.open", json!({}));
    let opened = open().await.unwrap();
    assert!(connect_async(opened["url"].as_str().unwrap()).await.is_err());
    // A ticket is good for one socket.
    let opened = open().await.unwrap();
    assert!(connect_async(opened["url"].as_str().unwrap()).await.is_ok());
    assert!(connect_async(opened["url"].as_str().unwrap()).await.is_err());
}

#[tokio::test]
async fn events_go_to_the_socket_that_is_wanted() {
    let office = office().await;
    let fake = &office.fake;
    let (mut first, mut second) = (office.socket().await, office.socket().await);
    let say = || fake.say(&office.channel, &office.anna, "ciao", Said::default());
    fake.route(Routing::Newest);
    say();
    second.event().await;
    assert_eq!(fake.half_open_one(), 1);
    fake.route(Routing::Random(3));
    fake.set_redelivery(SHORT, 100);
    for _ in 0..10 {
        say();
        second.event().await;
    }
    assert_eq!(first.look(SHORT).await, None);
    let late = fake.ack_delays().iter().filter(|ack| ack.retry > 0).count();
    assert!((1..10).contains(&late), "{late}");
}
