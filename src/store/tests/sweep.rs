//! What is old is forgotten, what is not stays.

use super::*;

fn sweep_all(store: &Store, now: i64) -> usize {
    let retention = Retention { rows_max: 3, ..Retention::default() };
    let mut removed = 0;
    for _ in 0..100 {
        let swept = store.sweep(now, &retention).unwrap();
        assert!(swept.removed <= retention.rows_max);
        removed += swept.removed;
        if swept.complete {
            return removed;
        }
    }
    panic!("the sweep does not come to an end");
}

#[test]
fn keys_of_done_events_are_remembered_for_a_day_after_they_were_done() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let done = accept(&store, "done");
    accept(&store, "waiting");
    // It waits for long; only then its time begins.
    assert_eq!(sweep_all(&store, NOW + 30 * DAY), 0);
    store.done(done).unwrap();
    let begin = NOW + 31 * DAY;
    let short = Retention { seen_keys: 0, ..Retention::default() };
    for (now, removed) in [(begin, 0), (begin + DAY - 1, 0), (begin + DAY, 1), (begin + 99 * DAY, 0)] {
        assert_eq!(store.sweep(now, &short).unwrap(), Swept { removed, complete: true }, "{now}");
    }
    assert_eq!(store.accept("waiting", b"", NOW).unwrap(), Accepted::Seen);
    assert!(matches!(store.accept("done", b"", NOW).unwrap(), Accepted::New(_)));
}

#[test]
fn old_rows_go_and_take_their_messages_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for n in 0..10 {
        let at = NOW + n * DAY;
        let id = format!("{n}.0");
        store.set_conversation(&thread("C1", Some(&id)), &Conversation { last_at: at, ..Default::default() }).unwrap();
        let delivery = Delivery { updated_at: at, ..delivery(vec![posted(&format!("{n}.1"))]) };
        store.set_delivery(&question(&id), &delivery, true).unwrap();
        let verdict = FeedbackVerdict::Helpful;
        store
            .set_feedback(&Feedback { question: question(&id), who: person("U1"), verdict, by_admin: false, at })
            .unwrap();
    }
    let retention = Retention::default();
    assert_eq!(sweep_all(&store, NOW + retention.conversations - 1), 0);
    // Days 0 to 3 of the conversations and of the deliveries.
    assert_eq!(sweep_all(&store, NOW + retention.conversations + 3 * DAY), 8);
    assert_eq!(store.conversation(&thread("C1", Some("3.0"))).unwrap(), None);
    assert!(store.conversation(&thread("C1", Some("4.0"))).unwrap().is_some());
    assert_eq!(store.question_of(&chat("C1"), &message("3.1")).unwrap(), None);
    assert_eq!(store.question_of(&chat("C1"), &message("4.1")).unwrap(), Some(question("4.0")));
    assert_eq!(store.messages_of(&chat("C1"), 99).unwrap().len(), 6);
    assert_eq!(store.feedback_since(0, 99).unwrap().len(), 10);
    assert_eq!(sweep_all(&store, NOW + retention.feedback), 13);
    drop(store);
    assert_eq!(open(folder.path()).feedback_since(0, 99).unwrap().len(), 9);
}

#[test]
fn what_admins_decided_is_never_swept() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let entry = AccessEntry { standing: Standing::Admin, by: String::new(), at: 0 };
    store.set_access("slack:U1", &entry).unwrap();
    store.set_flag("paused", Some("1")).unwrap();
    let (who, action, outcome) = (String::new(), "pause".to_owned(), String::new());
    store.audit(&AuditEntry { at: 0, who, action, subject: None, outcome }).unwrap();
    accept(&store, "a");
    assert_eq!(sweep_all(&store, i64::MAX), 0);
    assert_eq!(store.access("slack:U1").unwrap(), Some(entry));
    assert_eq!(store.flag("paused").unwrap().as_deref(), Some("1"));
    assert_eq!(store.audit_since(0, 9).unwrap().len(), 1);
    assert_eq!(pending(&store), ["event a"]);
}
