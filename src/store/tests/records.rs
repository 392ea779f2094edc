//! What is written is found again, in the same process and after it was opened again.

use std::collections::BTreeSet;
use std::sync::Barrier;

use super::*;
use crate::domain::{GivenAnswer, Language};

/// Writes with `write`, then looks with `look` now and after the store was opened again.
fn check(write: impl Fn(&Store), look: impl Fn(&Store)) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    write(&store);
    look(&store);
    drop(store);
    let store = open(folder.path());
    look(&store);
    assert_eq!((store.put_aside(), store.damaged_rows()), (None, 0));
}

#[test]
fn events_wait_in_the_order_in_which_they_came() {
    check(
        |store| {
            for key in ["b", "a", "c"] {
                accept(store, key);
            }
            assert_eq!(store.accept("a", b"again", NOW).unwrap(), Accepted::Seen);
        },
        |store| assert_eq!(pending(store), ["event b", "event a", "event c"]),
    );
}

#[test]
fn a_done_event_is_gone_and_still_recognised() {
    check(
        |store| {
            let first = accept(store, "first");
            accept(store, "second");
            for _ in 0..2 {
                store.done(first).unwrap();
            }
            store.done(InboxId(999)).unwrap();
        },
        |store| {
            assert_eq!(pending(store), ["event second"]);
            assert_eq!(store.accept("first", b"again", NOW).unwrap(), Accepted::Seen);
        },
    );
}

#[test]
fn numbers_of_events_are_not_used_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let last = accept(&store, "a").max(accept(&store, "b"));
    store.done(last).unwrap();
    drop(store);
    assert!(accept(&open(folder.path()), "c") > last);
}

#[test]
fn payloads_may_be_any_bytes_of_any_length_up_to_the_limit() {
    let sizes = [0, 1, 4_000, 4_096, 5_000, 140_000, 1_000_000];
    let payload = |bytes: usize| (0..bytes).map(|n| (n * 7 % 256) as u8).collect::<Vec<u8>>();
    check(
        |store| {
            for bytes in sizes {
                store.accept(&format!("{bytes}"), &payload(bytes), NOW).unwrap();
            }
            let error = store.accept("too large", &payload(2_000_000), NOW).unwrap_err();
            assert!(matches!(error, StoreError::TooLarge { .. }), "{error}");
        },
        |store| {
            let found: Vec<Vec<u8>> = store.pending().unwrap().into_iter().map(|(_, payload)| payload).collect();
            assert!(found == sizes.map(payload));
        },
    );
}

#[test]
fn two_hundred_events_at_once_are_all_taken() {
    check(
        |store| {
            let start = Barrier::new(200);
            let ids = std::thread::scope(|threads| {
                let tasks: Vec<_> = (0..200)
                    .map(|n| {
                        let start = &start;
                        threads.spawn(move || {
                            start.wait();
                            accept(store, &format!("{n:03}"))
                        })
                    })
                    .collect();
                tasks.into_iter().map(|task| task.join().unwrap()).collect::<BTreeSet<_>>()
            });
            assert_eq!(ids.len(), 200);
        },
        |store| {
            let expected: BTreeSet<String> = (0..200).map(|n| format!("event {n:03}")).collect();
            assert_eq!(pending(store).into_iter().collect::<BTreeSet<_>>(), expected);
        },
    );
}

#[test]
fn an_event_that_comes_fifty_times_at_once_is_taken_once() {
    check(
        |store| {
            let start = Barrier::new(50);
            let new = std::thread::scope(|threads| {
                let tasks: Vec<_> = (0..50)
                    .map(|_| {
                        threads.spawn(|| {
                            start.wait();
                            store.accept("same", b"event same", NOW).unwrap()
                        })
                    })
                    .collect();
                tasks.into_iter().map(|task| task.join().unwrap()).collect::<Vec<_>>()
            });
            assert_eq!(new.iter().filter(|accepted| **accepted != Accepted::Seen).count(), 1);
        },
        |store| assert_eq!(pending(store), ["event same"]),
    );
}

#[test]
fn a_delivery_is_found_with_its_messages() {
    let posting = DeliveredMessage::Posting { at: NOW, content: "{\"markdown\":\"…\"}".repeat(1000), behind: None };
    let kept = delivery(vec![posted("10.2"), posting]);
    check(
        |store| {
            store.set_delivery(&question("1.0"), &delivery(vec![posted("10.1")]), false).unwrap();
            store.set_delivery(&question("1.0"), &kept, true).unwrap();
            store.set_delivery(&question("2.0"), &Delivery { finished: true, ..delivery(vec![]) }, true).unwrap();
        },
        |store| {
            assert_eq!(store.delivery(&question("1.0")).unwrap().as_ref(), Some(&kept));
            assert_eq!(store.delivery(&question("3.0")).unwrap(), None);
            assert_eq!(store.question_of(&chat("C1"), &message("10.2")).unwrap(), Some(question("1.0")));
            // No message of this answer any more.
            assert_eq!(store.question_of(&chat("C1"), &message("10.1")).unwrap(), None);
            assert_eq!(store.question_of(&chat("C2"), &message("10.2")).unwrap(), None);
        },
    );
}

#[test]
fn the_newest_messages_of_a_chat_come_first() {
    check(
        |store| {
            store.set_delivery(&question("8"), &delivery(vec![posted("9"), posted("10")]), true).unwrap();
            store.set_delivery(&question("99"), &delivery(vec![posted("100")]), true).unwrap();
            let elsewhere = (chat("C11"), message("5"));
            store.set_delivery(&elsewhere, &delivery(vec![posted("500")]), true).unwrap();
        },
        |store| {
            assert_eq!(store.messages_of(&chat("C1"), 2).unwrap(), [message("100"), message("10")]);
            assert_eq!(store.messages_of(&chat("C1"), 9).unwrap().len(), 3);
        },
    );
}

#[test]
fn a_conversation_forgets_what_was_asked_and_nothing_else() {
    let (here, there) = (thread("C1", Some("1.0")), thread("C1", None));
    let talk = Conversation {
        any_language: false,
        participates: true,
        language: Some(Language::Italian),
        last_question: Some("ferie?".to_owned()),
        last_answered: Some(message("1.0")),
        last_at: NOW,
        forgotten: false,
    };
    check(
        |store| {
            for thread in [&here, &there] {
                store.set_conversation(thread, &talk).unwrap();
            }
            store.set_delivery(&question("1.0"), &Delivery { finished: true, ..delivery(vec![]) }, true).unwrap();
            store.set_delivery(&question("2.0"), &delivery(vec![]), true).unwrap();
            store.forget(&here).unwrap();
            store.forget(&thread("C7", None)).unwrap();
        },
        |store| {
            let forgotten = Conversation { last_question: None, last_answered: None, forgotten: true, ..talk.clone() };
            assert_eq!(store.conversation(&here).unwrap(), Some(forgotten));
            assert_eq!(store.conversation(&there).unwrap().as_ref(), Some(&talk));
            assert_eq!(store.conversation(&thread("C7", None)).unwrap(), None);
            let text = |id| store.delivery(&question(id)).unwrap().unwrap().question_text;
            assert_eq!((text("1.0").as_str(), text("2.0").as_str()), ("", "quanti giorni di ferie ho?"));
        },
    );
}

#[test]
fn access_is_kept_and_a_code_leads_to_its_person() {
    let entry = |standing| AccessEntry { standing, by: "slack:U9".to_owned(), at: NOW };
    check(
        |store| {
            let pairing = Standing::Pairing { code: "4711".to_owned(), expires: NOW + 600 };
            store.set_access("telegram:1", &entry(Standing::Greeted)).unwrap();
            store.set_access("telegram:1", &entry(pairing)).unwrap();
            store.set_access("slack:U1", &entry(Standing::Admin)).unwrap();
        },
        |store| {
            assert_eq!(store.access("slack:U1").unwrap(), Some(entry(Standing::Admin)));
            assert_eq!(store.access("slack:U2").unwrap(), None);
            let subjects: Vec<String> = store.all_access().unwrap().into_iter().map(|(subject, _)| subject).collect();
            assert_eq!(subjects, ["slack:U1", "telegram:1"]);
            assert_eq!(store.pairing("4711").unwrap().as_deref(), Some("telegram:1"));
            assert_eq!(store.pairing("0815").unwrap(), None);
        },
    );
}

#[test]
fn the_audit_log_keeps_everything_in_order() {
    let entry = |at, action: &str| AuditEntry {
        at,
        who: "slack:U1".to_owned(),
        action: action.to_owned(),
        subject: None,
        outcome: "done".to_owned(),
    };
    check(
        |store| {
            for (at, action) in [(NOW, "pause"), (NOW, "resume"), (NOW - 5, "allow"), (NOW + 5, "reindex")] {
                store.audit(&entry(at, action)).unwrap();
            }
        },
        |store| {
            let actions = |since, limit| {
                let entries = store.audit_since(since, limit).unwrap();
                entries.into_iter().map(|entry| entry.action).collect::<Vec<_>>()
            };
            assert_eq!(actions(0, 9), ["allow", "pause", "resume", "reindex"]);
            assert_eq!(actions(NOW, 9), ["pause", "resume", "reindex"]);
            assert_eq!(actions(0, 2), ["resume", "reindex"]);
        },
    );
}

#[test]
fn audit_entries_of_one_second_survive_restarts() {
    let folder = tempfile::tempdir().unwrap();
    for action in ["pause", "resume", "pause"] {
        let entry = AuditEntry {
            at: NOW,
            who: String::new(),
            action: action.to_owned(),
            subject: Some("x".to_owned()),
            outcome: String::new(),
        };
        open(folder.path()).audit(&entry).unwrap();
    }
    assert_eq!(open(folder.path()).audit_since(0, 9).unwrap().len(), 3);
}

#[test]
fn the_last_verdict_of_a_person_counts() {
    let feedback = |id: &str, who: &str, verdict, at| Feedback {
        question: question(id),
        who: person(who),
        verdict,
        by_admin: false,
        at,
    };
    let (good, bad) = (FeedbackVerdict::Helpful, FeedbackVerdict::NotHelpful);
    check(
        |store| {
            store.set_feedback(&feedback("1.0", "U1", good, NOW)).unwrap();
            store.set_feedback(&feedback("1.0", "U2", good, NOW + 1)).unwrap();
            store.set_feedback(&feedback("1.0", "U1", bad, NOW + 2)).unwrap();
            store.set_feedback(&feedback("1.01", "U1", bad, NOW - 9)).unwrap();
        },
        |store| {
            let (first, second) = (feedback("1.0", "U1", bad, NOW + 2), feedback("1.0", "U2", good, NOW + 1));
            let since = |at| store.feedback_on(&question("1.0"), at).unwrap();
            assert_eq!(since(NOW + 2), std::slice::from_ref(&first));
            assert_eq!(store.feedback_since(0, 1).unwrap(), std::slice::from_ref(&first));
            assert_eq!(since(0), [first.clone(), second.clone()]);
            assert_eq!(store.feedback_since(NOW, 9).unwrap(), [second, first]);
        },
    );
}

fn given(asked: &str, text: &str) -> GivenAnswer {
    GivenAnswer {
        asked: asked.to_owned(),
        text: text.to_owned(),
        language: Language::Italian,
        citations: Vec::new(),
        found: vec![PassageId([1; 16])],
    }
}

fn answered(asked: &str, text: &str) -> Delivery {
    Delivery { answer: Some(given(asked, text)), finished: true, ..delivery(vec![posted("9.0")]) }
}

#[test]
fn confirmed_answers_are_found_by_what_was_asked() {
    check(
        |store| {
            for (id, delivery) in [
                ("1.0", answered("leave", "26")),
                ("2.0", answered("leave", "26 days")),
                ("3.0", answered("leaves", "other")),
                ("4.0", answered("leave", "not confirmed")),
                ("5.0", Delivery { messages: Vec::new(), ..answered("leave", "taken back") }),
                ("6.0", delivery(vec![posted("9.1")])),
            ] {
                store.set_delivery(&question(id), &delivery, true).unwrap();
            }
            for id in ["1.0", "1.0", "2.0", "3.0", "5.0", "6.0", "7.0"] {
                store.confirm(&question(id), NOW, NOW).unwrap();
            }
            // It is another answer by now.
            store.confirm(&question("4.0"), NOW - 1, NOW).unwrap();
        },
        |store| {
            let (first, second) = (given("leave", "26"), given("leave", "26 days"));
            let expect = [(question("1.0"), first), (question("2.0"), second)];
            assert_eq!(store.confirmed("leave", 9).unwrap(), expect);
            assert_eq!(store.confirmed("leave", 1).unwrap(), expect[..1]);
            assert_eq!(store.confirmed("leaves", 9).unwrap().len(), 1);
            assert!(store.confirmed("lea", 9).unwrap().is_empty());
        },
    );
}

#[test]
fn an_answer_is_confirmed_no_longer_when_it_changes_or_goes() {
    let gone = |change: &dyn Fn(&Store)| {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        store.set_delivery(&question("1.0"), &answered("leave", "26"), true).unwrap();
        store.confirm(&question("1.0"), NOW, NOW).unwrap();
        store
            .set_delivery(&question("1.0"), &Delivery { updated_at: NOW + 1, ..answered("leave", "26") }, true)
            .unwrap();
        assert_eq!(store.confirmed("leave", 9).unwrap().len(), 1);
        change(&store);
        assert!(store.confirmed("leave", 9).unwrap().is_empty());
    };
    let set = |store: &Store, delivery: &Delivery| store.set_delivery(&question("1.0"), delivery, true).unwrap();
    gone(&|store| store.unconfirm(&question("1.0")).unwrap());
    gone(&|store| set(store, &answered("leave", "28")));
    gone(&|store| set(store, &answered("another question", "26")));
    gone(&|store| set(store, &Delivery { answer: None, ..answered("leave", "26") }));
    gone(&|store| set(store, &Delivery { messages: Vec::new(), ..answered("leave", "26") }));
    gone(&|store| store.forget(&thread("C1", Some("1.0"))).unwrap());
    let retention = Retention::default();
    gone(&|store| assert!(store.sweep(NOW + retention.deliveries + 1, &retention).unwrap().removed > 0));
}

#[test]
fn flags_are_set_and_taken_away() {
    check(
        |store| {
            store.set_flag("paused", Some("")).unwrap();
            store.set_flag("telegram.offset", Some("42")).unwrap();
            store.set_flag("telegram.offset", Some("43")).unwrap();
            store.set_flag("mentions_only:slack:C1", Some("1")).unwrap();
            store.set_flag("mentions_only:slack:C1", None).unwrap();
        },
        |store| {
            assert_eq!(store.flag("paused").unwrap().as_deref(), Some(""));
            assert_eq!(store.flag("telegram.offset").unwrap().as_deref(), Some("43"));
            assert_eq!(store.flag("mentions_only:slack:C1").unwrap(), None);
        },
    );
}

/// While one thread replaces a value of many parts, another never finds a mixture.
#[test]
fn a_long_value_is_read_whole_while_it_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let write = |n: usize| store.set_flag("long", Some(&n.to_string().repeat(20_000 * n))).unwrap();
    write(1);
    std::thread::scope(|threads| {
        let writer = threads.spawn(|| (0..150).for_each(|n| write(1 + n * 4 % 9)));
        while !writer.is_finished() {
            let value = store.flag("long").unwrap().unwrap();
            let digit = value.as_bytes()[0];
            assert!(value.bytes().all(|byte| byte == digit));
            assert_eq!(value.len(), 20_000 * usize::from(digit - b'0'));
        }
    });
}
