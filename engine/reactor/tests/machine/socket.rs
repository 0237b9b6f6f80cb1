//! Sockets: accepted by a thread, served on a core, handed over whole.

#![expect(
    clippy::disallowed_methods,
    reason = "the test's own thread waits for the kernel, and its core stands still on purpose"
)]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use weir_reactor::{
    CorePlan, Inbox, Lane, Listener, Reactor, Running, Socket, TcpSocket, choose_cpus, mailbox,
    start_cores,
};

use super::folder;

fn loopback() -> Listener {
    Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap()
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

/// A core that echoes every connection it is given.
fn echo_core(inbox: Inbox<OwnedFd>) -> Running<usize> {
    let folder = folder();
    let inbox = Arc::new(Mutex::new(Some(inbox)));
    let plan = CorePlan {
        cpus: choose_cpus(1).unwrap(),
        folder: folder.path().to_owned(),
    };
    start_cores(&plan, move |reactor| {
        let mut inbox = inbox.lock().unwrap().take().unwrap();
        async move {
            let mut served = 0;
            while let Some(descriptor) = inbox.receive().await {
                served += 1;
                reactor.spawn(Lane::Network, async move {
                    let socket = TcpSocket::adopt(descriptor).unwrap();
                    let mut buffer = vec![0; 64 << 10];
                    loop {
                        let bytes = socket.receive(&mut buffer).await.unwrap();
                        if bytes == 0 || socket.send(&buffer[..bytes]).await.is_err() {
                            return;
                        }
                    }
                });
            }
            served
        }
    })
    .unwrap()
}

#[test]
fn a_core_echoes_many_connections() {
    let (mailbox, inbox) = mailbox(64);
    let running = echo_core(inbox);
    let acceptor = loopback()
        .start_accepting("accept", move |descriptor, peer| {
            assert!(peer.ip().is_loopback());
            mailbox.send(descriptor).expect("room");
        })
        .unwrap();
    let address = acceptor.local_address();
    let clients: Vec<_> = (0..8_u8)
        .map(|number| {
            std::thread::spawn(move || {
                let mut stream = connect(address);
                let sent: Vec<u8> = (0..1_000_000_u32)
                    .map(|index| (index % 251) as u8 ^ number)
                    .collect();
                let mut writer = stream.try_clone().unwrap();
                let expected = sent.clone();
                let writing = std::thread::spawn(move || {
                    writer.write_all(&sent).unwrap();
                    writer.shutdown(Shutdown::Write).unwrap();
                });
                let mut received = Vec::new();
                stream.read_to_end(&mut received).unwrap();
                writing.join().unwrap();
                assert!(received == expected);
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    acceptor.stop();
    assert!(
        TcpStream::connect(address).is_err(),
        "nobody listens any more"
    );
    assert_eq!(running.join(), [Some(8)]);
}

#[test]
fn a_connection_is_handed_over_without_losing_a_byte() {
    let (to_echo, inbox) = mailbox(4);
    let running = echo_core(inbox);
    // The echoing core ends when nobody can send it connections any more.
    let keep_echoing = to_echo.clone();
    let (to_hello, hellos) = mailbox::<OwnedFd>(4);
    let hellos = Arc::new(Mutex::new(Some(hellos)));
    let folder = folder();
    let plan = CorePlan {
        cpus: choose_cpus(1).unwrap(),
        folder: folder.path().to_owned(),
    };
    let reading = start_cores(&plan, move |_| {
        let mut hellos = hellos.lock().unwrap().take().unwrap();
        let to_echo = to_echo.clone();
        async move {
            let socket = TcpSocket::adopt(hellos.receive().await.unwrap()).unwrap();
            let mut hello = [0; 64];
            let mut filled = 0;
            while filled < hello.len() {
                filled += socket.receive(&mut hello[filled..]).await.unwrap();
            }
            assert_eq!(hello, [7; 64]);
            to_echo
                .send(socket.into_descriptor().unwrap())
                .ok()
                .unwrap();
        }
    });
    let reading = reading.unwrap();
    let acceptor = loopback()
        .start_accepting("accept", move |descriptor, _| {
            to_hello.send(descriptor).unwrap();
        })
        .unwrap();
    let mut stream = connect(acceptor.local_address());
    // Hello and first request in one piece: the request belongs to the other core.
    stream
        .write_all(&[[7; 64].as_slice(), b"request"].concat())
        .unwrap();
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"request");
    stream.write_all(b"another").unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"another");
    drop((stream, keep_echoing));
    assert_eq!(reading.join(), [Some(())]);
    assert_eq!(running.join(), [Some(1)]);
}

#[test]
fn shutdown_ends_a_pending_receive_and_tells_the_peer() {
    let (mailbox, inbox) = mailbox::<OwnedFd>(4);
    let inbox = Arc::new(Mutex::new(Some(inbox)));
    let folder = folder();
    let plan = CorePlan {
        cpus: choose_cpus(1).unwrap(),
        folder: folder.path().to_owned(),
    };
    let running = start_cores(&plan, move |reactor| {
        let mut inbox = inbox.lock().unwrap().take().unwrap();
        async move {
            let socket = TcpSocket::adopt(inbox.receive().await.unwrap()).unwrap();
            let ending = socket.clone();
            let sleeper = reactor.clone();
            reactor.spawn(Lane::Background, async move {
                sleeper.sleep(Duration::from_millis(20)).await;
                ending.shutdown();
            });
            let received = socket.receive(&mut [0; 8]).await.unwrap();
            assert!(socket.send(b"late").await.is_err());
            received
        }
    });
    let running = running.unwrap();
    let acceptor = loopback()
        .start_accepting("accept", move |descriptor, _| {
            mailbox.send(descriptor).unwrap();
        })
        .unwrap();
    let mut stream = connect(acceptor.local_address());
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
    assert_eq!(running.join(), [Some(0)]);
}

/// Connections to `port` that are not over, in the kernel's eyes, though the server has ended them:
/// FIN-WAIT-2.
fn half_over(port: u16) -> usize {
    let text = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let local = format!("0100007F:{port:04X}");
    let is_half_over = |line: &&str| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some(&local) && words.nth(1) == Some("05")
    };
    text.lines().filter(is_half_over).count()
}

/// A socket that is dropped while something comes: the kernel is just about to say so, and could not
/// be told to forget it. It held the connection, and what had come of it, for as long as the core ran.
#[test]
fn a_socket_that_is_dropped_while_bytes_come_is_let_go_of() {
    const SOCKETS: usize = 200;
    let (mailbox, inbox) = mailbox(SOCKETS);
    let folder = folder();
    let inbox = Arc::new(Mutex::new(Some(inbox)));
    let plan = CorePlan {
        cpus: choose_cpus(1).unwrap(),
        folder: folder.path().to_owned(),
    };
    let running = start_cores(&plan, move |_reactor| {
        let mut inbox: Inbox<OwnedFd> = inbox.lock().unwrap().take().unwrap();
        async move {
            let mut sockets = Vec::new();
            while let Some(descriptor) = inbox.receive().await {
                let socket = TcpSocket::adopt(descriptor).unwrap();
                // Its poll is with the kernel when this has come.
                let mut byte = [0];
                assert_eq!(socket.receive(&mut byte).await.unwrap(), 1);
                sockets.push(socket);
                if sockets.len() == SOCKETS {
                    // More comes now, and nobody looks in between.
                    let until = std::time::Instant::now() + Duration::from_millis(300);
                    while std::time::Instant::now() < until {
                        std::hint::spin_loop();
                    }
                    sockets.clear();
                }
            }
        }
    })
    .unwrap();
    let acceptor = loopback()
        .start_accepting("accept", move |descriptor, _| {
            mailbox.send(descriptor).expect("room");
        })
        .unwrap();
    let address = acceptor.local_address();
    let mut clients: Vec<_> = (0..SOCKETS).map(|_| connect(address)).collect();
    for client in &mut clients {
        client.write_all(b"a").unwrap();
    }
    // Some of it before the core spins, some while it does.
    for _ in 0..20 {
        for client in &mut clients {
            let _ = client.write(b"more");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    for client in &mut clients {
        // The end, or that what was sent was not read.
        let _ = client.read(&mut [0; 1]);
    }
    let until = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        let held = half_over(address.port());
        if held == 0 {
            break;
        }
        assert!(
            std::time::Instant::now() < until,
            "the kernel holds {held} of {SOCKETS} connections"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(acceptor);
    running.join();
}
