//! The first 64 bytes: is it a client of ours, and is it on the right core?

use std::io;

use weir_protocol::limits::{CONNECTION_IN_FLIGHT_BYTES_MAX, WIRE_FRAME_BYTES_MAX};
use weir_protocol::wire::hello::{
    CORE_ANY, ClientHello, HELLO_BYTES, HelloStatus, ServerHello, WIRE_VERSION,
};
use weir_reactor::Socket;

/// Where a connection goes after its hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Greeted {
    /// It was welcomed on this core: requests follow.
    Welcome,
    /// It belongs to another core, which has to answer the hello.
    Elsewhere(u32),
    /// It was refused, or ended without a word: close it.
    Refused,
    /// What it said is no hello of ours: close it.
    Nonsense,
}

/// What this core answers to a hello.
pub(crate) fn answer(status: HelloStatus, core: u32, cores: u32) -> [u8; HELLO_BYTES] {
    ServerHello {
        version: WIRE_VERSION,
        status,
        features: 0,
        core,
        cores,
        frame_bytes_max: WIRE_FRAME_BYTES_MAX,
        in_flight_bytes_max: CONNECTION_IN_FLIGHT_BYTES_MAX,
    }
    .encode()
}

/// Receives exactly the hello, so that not a byte behind it is lost if the connection moves on,
/// and answers it unless another core has to.
pub(crate) async fn greet<S: Socket>(
    socket: &S,
    core: u32,
    cores: u32,
    is_stopping: bool,
) -> io::Result<Greeted> {
    let mut bytes = [0; HELLO_BYTES];
    let mut have = 0;
    while have < HELLO_BYTES {
        match socket.receive(&mut bytes[have..]).await? {
            0 if have == 0 => return Ok(Greeted::Refused),
            0 => return Ok(Greeted::Nonsense),
            count => have += count,
        }
    }
    let Ok(hello) = ClientHello::decode(&bytes) else {
        // Whatever it is, it would not understand an answer.
        return Ok(Greeted::Nonsense);
    };
    let status = if hello.version != WIRE_VERSION {
        HelloStatus::UnknownVersion
    } else if is_stopping {
        HelloStatus::Busy
    } else if hello.core == CORE_ANY || hello.core == core {
        HelloStatus::Welcome
    } else if hello.core < cores {
        return Ok(Greeted::Elsewhere(hello.core));
    } else {
        HelloStatus::UnknownCore
    };
    socket.send(&answer(status, core, cores)).await?;
    Ok(if status == HelloStatus::Welcome {
        Greeted::Welcome
    } else {
        Greeted::Refused
    })
}

/// Welcomes a connection that another core sent here.
pub(crate) async fn welcome<S: Socket>(socket: &S, core: u32, cores: u32) -> io::Result<()> {
    socket
        .send(&answer(HelloStatus::Welcome, core, cores))
        .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_reactor::sim::{RunLimit, Sim, SimOptions};

    fn greet_with(bytes: &[u8]) -> (Greeted, Option<ServerHello>) {
        let sim = Sim::new(7, SimOptions::default());
        let (client, server) = sim.connect();
        let bytes = bytes.to_vec();
        sim.run(RunLimit::done(), async move {
            client.send(&bytes).await.unwrap();
            client.finish();
            let greeted = greet(&server, 1, 4, false).await.unwrap();
            drop(server);
            let (mut answer, mut have) = ([0; HELLO_BYTES], 0);
            while let Ok(count @ 1..) = client.receive(&mut answer[have..]).await {
                have += count;
                if have == HELLO_BYTES {
                    break;
                }
            }
            (greeted, ServerHello::decode(&answer).ok())
        })
        .unwrap()
    }

    #[test]
    fn a_hello_is_answered_by_the_core_it_is_for() {
        for core in [1, CORE_ANY] {
            let (greeted, answer) = greet_with(&ClientHello::new(core).encode());
            assert_eq!(greeted, Greeted::Welcome);
            let answer = answer.unwrap();
            assert_eq!((answer.core, answer.cores), (1, 4));
        }
        let (greeted, answer) = greet_with(&ClientHello::new(3).encode());
        assert_eq!((greeted, answer), (Greeted::Elsewhere(3), None));
    }

    #[test]
    fn what_is_no_hello_of_ours_is_refused() {
        let (greeted, answer) = greet_with(&ClientHello::new(4).encode());
        assert_eq!(greeted, Greeted::Refused);
        assert_eq!(answer.unwrap().status, HelloStatus::UnknownCore);
        let newer = ClientHello {
            version: 9,
            ..ClientHello::new(1)
        };
        let (greeted, answer) = greet_with(&newer.encode());
        assert_eq!(greeted, Greeted::Refused);
        assert_eq!(answer.unwrap().status, HelloStatus::UnknownVersion);
        let http =
            b"GET / HTTP/1.1\r\nhost: localhost\r\nuser-agent: someone-at-the-wrong-port\r\n";
        assert_eq!(greet_with(http), (Greeted::Nonsense, None));
        assert_eq!(greet_with(b"WEIR"), (Greeted::Nonsense, None));
        assert_eq!(greet_with(b""), (Greeted::Refused, None));
    }
}
