//! Cores: letters between them and from threads, refusals, many at once.

use std::sync::{Arc, Mutex};

use weir_reactor::{
    CorePlan, Inbox, Mailbox, Reactor, Reply, choose_cpus, cpus_allowed, mailbox, monotonic,
    off_core, oneshot, start_cores, start_thread, thread_queue,
};

use super::{folder, on_core};

type Letter = (u64, Reply<u64>);

#[test]
fn two_cores_exchange_letters() {
    let folder = folder();
    let Ok(cpus) = choose_cpus(2) else {
        eprintln!("skipped: needs two CPUs");
        return;
    };
    let mut boxes: Vec<Option<(Mailbox<Letter>, Inbox<Letter>)>> = Vec::new();
    let (to_first, first) = mailbox(8);
    let (to_second, second) = mailbox(8);
    boxes.push(Some((to_second, first)));
    boxes.push(Some((to_first, second)));
    let boxes = Arc::new(Mutex::new(boxes));
    let plan = CorePlan {
        cpus,
        folder: folder.path().to_owned(),
    };
    let running = start_cores(&plan, move |reactor| {
        let ends = boxes.lock().unwrap()[reactor.core()].take().unwrap();
        async move {
            let (other, mut own) = ends;
            if reactor.core() == 1 {
                let mut answered = 0;
                while let Some((number, reply)) = own.receive().await {
                    reply.send(number + 1);
                    answered += 1;
                }
                return answered;
            }
            let started = reactor.monotonic();
            let mut number = 0;
            for _ in 0..1_000 {
                let (reply, answer) = oneshot();
                other.send((number, reply)).ok().expect("room");
                number = answer.await.unwrap();
            }
            eprintln!(
                "hop and back: {:?}",
                reactor.monotonic().since(started) / 1_000
            );
            number
        }
    });
    let done = running.unwrap().join();
    assert_eq!(done, [Some(1_000), Some(1_000)]);
}

#[test]
fn threads_reach_a_busy_core_in_time() {
    let folder = folder();
    let (mailbox, inbox) = mailbox::<Letter>(1);
    let inbox = Arc::new(Mutex::new(Some(inbox)));
    let cpus = choose_cpus(1).unwrap();
    let plan = CorePlan {
        cpus,
        folder: folder.path().to_owned(),
    };
    let running = start_cores(&plan, move |reactor| {
        let mut inbox = inbox.lock().unwrap().take().unwrap();
        async move {
            // Somebody else keeps the core busy, but yields.
            let busy = reactor.clone();
            reactor.spawn(weir_reactor::Lane::Background, async move {
                loop {
                    let until = busy.monotonic().plus(std::time::Duration::from_micros(200));
                    while busy.monotonic() < until {}
                    busy.yield_now().await;
                }
            });
            while let Some((number, reply)) = inbox.receive().await {
                reply.send(number * 2);
            }
        }
    });
    let running = running.unwrap();
    let mut slowest = std::time::Duration::ZERO;
    for number in 0..200 {
        let started = monotonic();
        let (reply, answer) = oneshot();
        mailbox
            .send((number, reply))
            .ok()
            .expect("the box is empty");
        let answer = answer.wait(std::time::Duration::from_secs(10));
        assert_eq!(answer, Some(Ok(number * 2)));
        slowest = slowest.max(monotonic().since(started));
    }
    eprintln!("slowest of 200 answers of a busy core: {slowest:?}");
    drop(mailbox);
    assert_eq!(running.join(), [Some(())]);
}

#[test]
fn a_full_or_closed_box_gives_the_letter_back() {
    let (mailbox, mut inbox) = mailbox(2);
    mailbox.send(1).unwrap();
    mailbox.clone().send(2).unwrap();
    assert_eq!(mailbox.send(3), Err(3));
    assert_eq!(inbox.try_receive(), Some(1));
    mailbox.send(4).unwrap();
    drop(inbox);
    assert!(mailbox.is_closed());
    assert_eq!(mailbox.send(5), Err(5));
}

#[test]
fn jobs_beside_the_core_answer_and_may_fail() {
    let folder = folder();
    on_core(folder.path().to_owned(), |_| async {
        assert_eq!(off_core(|| Ok(7)).await.unwrap(), 7);
        let error = off_core::<()>(|| Err(std::io::ErrorKind::NotFound.into()))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        assert!(
            off_core::<()>(|| panic!("expected by this test"))
                .await
                .is_err()
        );
        assert_eq!(off_core(|| Ok(8)).await.unwrap(), 8);
    });
}

#[test]
fn a_cpu_that_is_not_there_is_refused_and_nothing_runs() {
    let folder = folder();
    let cpu = cpus_allowed().unwrap()[0];
    let plan = CorePlan {
        cpus: vec![cpu, 4_000],
        folder: folder.path().to_owned(),
    };
    let error = start_cores(&plan, |_| async { panic!("must not run") })
        .err()
        .unwrap();
    assert!(error.to_string().contains("CPU 4000"), "{error}");
    let all = cpus_allowed().unwrap().len();
    let few = choose_cpus(all + 1).unwrap_err().to_string();
    assert!(few.contains(&format!("{all} CPUs")), "{few}");
}

#[test]
fn an_ordinary_thread_works_from_its_queue() {
    let (queue, letters) = thread_queue(2);
    let thread = start_thread("sum", None, move || letters.iter().sum::<u64>()).unwrap();
    for number in 1..=10 {
        queue.send(number).unwrap();
    }
    drop(queue);
    assert_eq!(thread.join().unwrap(), 55);
}
