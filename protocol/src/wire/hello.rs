//! The first 64 bytes in each direction.
//!
//! Fixed in length, so that the accepting core can read it whole, and hand the descriptor to the
//! wanted core, before the first request.

use thiserror::Error;

use crate::bytes::{u16_at, u32_at, u64_at};
use crate::checksum;

/// First four bytes of both hellos, "WEIR".
pub const HELLO_MAGIC: u32 = u32::from_le_bytes(*b"WEIR");
/// The protocol version this code speaks.
pub const WIRE_VERSION: u16 = 1;
/// Length of either hello in bytes.
pub const HELLO_BYTES: usize = 64;
/// "Any core": the server keeps the connection where it landed.
pub const CORE_ANY: u32 = u32::MAX;

const CRC_AT: usize = HELLO_BYTES - 4;

/// What a client says first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientHello {
    /// Protocol version the client speaks.
    pub version: u16,
    /// Feature bits the client would use; none exist yet.
    pub features: u64,
    /// The core that owns the shards this connection is for, or [`CORE_ANY`].
    pub core: u32,
    /// Room for authentication; zero while there is none.
    pub authentication: [u8; 32],
}

/// What the server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerHello {
    /// Protocol version the server speaks.
    pub version: u16,
    /// Whether it goes on.
    pub status: HelloStatus,
    /// Feature bits both sides use.
    pub features: u64,
    /// The core this connection is on.
    pub core: u32,
    /// How many cores the server has.
    pub cores: u32,
    /// Longest frame the server takes, in bytes.
    pub frame_bytes_max: u32,
    /// Bytes of requests it takes before it stops reading.
    pub in_flight_bytes_max: u32,
}

/// Whether the server goes on after the hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelloStatus {
    /// Requests may follow.
    Welcome,
    /// The client's version is not spoken here; the server's version tells which is.
    UnknownVersion,
    /// The wanted core does not exist; `cores` tells how many do.
    UnknownCore,
    /// The server is stopping or full; try again later.
    Busy,
}

impl HelloStatus {
    const fn code(self) -> u16 {
        match self {
            Self::Welcome => 0,
            Self::UnknownVersion => 1,
            Self::UnknownCore => 2,
            Self::Busy => 3,
        }
    }

    const fn from_code(code: u16) -> Option<Self> {
        match code {
            0 => Some(Self::Welcome),
            1 => Some(Self::UnknownVersion),
            2 => Some(Self::UnknownCore),
            3 => Some(Self::Busy),
            _ => None,
        }
    }
}

/// Why 64 bytes are not a hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HelloError {
    /// The other side speaks something else.
    #[error("not a weir hello: it starts with {found:#010x}")]
    Magic {
        /// The first four bytes.
        found: u32,
    },
    /// The checksum does not match.
    #[error("hello checksum {found:#010x}, computed {computed:#010x}")]
    Checksum {
        /// The checksum in the hello.
        found: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// A status this code does not know.
    #[error("hello status {found} is not known")]
    Status {
        /// The status found.
        found: u16,
    },
}

fn check(bytes: &[u8; HELLO_BYTES]) -> Result<(), HelloError> {
    let magic = u32_at(bytes, 0);
    if magic != HELLO_MAGIC {
        return Err(HelloError::Magic { found: magic });
    }
    let found = u32_at(bytes, CRC_AT);
    let computed = checksum::crc(&bytes[..CRC_AT]);
    if found == computed {
        Ok(())
    } else {
        Err(HelloError::Checksum { found, computed })
    }
}

fn seal(bytes: &mut [u8; HELLO_BYTES]) {
    let crc = checksum::crc(&bytes[..CRC_AT]);
    bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
}

impl ClientHello {
    /// A hello of this version without authentication, for `core` or [`CORE_ANY`].
    pub const fn new(core: u32) -> Self {
        Self {
            version: WIRE_VERSION,
            features: 0,
            core,
            authentication: [0; 32],
        }
    }

    /// The bytes.
    pub fn encode(&self) -> [u8; HELLO_BYTES] {
        let mut out = [0; HELLO_BYTES];
        out[0..4].copy_from_slice(&HELLO_MAGIC.to_le_bytes());
        out[4..6].copy_from_slice(&self.version.to_le_bytes());
        out[8..16].copy_from_slice(&self.features.to_le_bytes());
        out[16..20].copy_from_slice(&self.core.to_le_bytes());
        out[24..56].copy_from_slice(&self.authentication);
        seal(&mut out);
        out
    }

    /// From the bytes. A version other than ours is not an error here: the server answers it.
    pub fn decode(bytes: &[u8; HELLO_BYTES]) -> Result<Self, HelloError> {
        check(bytes)?;
        let mut authentication = [0; 32];
        authentication.copy_from_slice(&bytes[24..56]);
        Ok(Self {
            version: u16_at(bytes, 4),
            features: u64_at(bytes, 8),
            core: u32_at(bytes, 16),
            authentication,
        })
    }
}

impl ServerHello {
    /// The bytes.
    pub fn encode(&self) -> [u8; HELLO_BYTES] {
        let mut out = [0; HELLO_BYTES];
        out[0..4].copy_from_slice(&HELLO_MAGIC.to_le_bytes());
        out[4..6].copy_from_slice(&self.version.to_le_bytes());
        out[6..8].copy_from_slice(&self.status.code().to_le_bytes());
        out[8..16].copy_from_slice(&self.features.to_le_bytes());
        out[16..20].copy_from_slice(&self.core.to_le_bytes());
        out[20..24].copy_from_slice(&self.cores.to_le_bytes());
        out[24..28].copy_from_slice(&self.frame_bytes_max.to_le_bytes());
        out[28..32].copy_from_slice(&self.in_flight_bytes_max.to_le_bytes());
        seal(&mut out);
        out
    }

    /// From the bytes.
    pub fn decode(bytes: &[u8; HELLO_BYTES]) -> Result<Self, HelloError> {
        check(bytes)?;
        let status = u16_at(bytes, 6);
        Ok(Self {
            version: u16_at(bytes, 4),
            status: HelloStatus::from_code(status).ok_or(HelloError::Status { found: status })?,
            features: u64_at(bytes, 8),
            core: u32_at(bytes, 16),
            cores: u32_at(bytes, 20),
            frame_bytes_max: u32_at(bytes, 24),
            in_flight_bytes_max: u32_at(bytes, 28),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hellos_survive_their_bytes_and_show_every_flipped_bit() {
        let client = ClientHello {
            features: 5,
            authentication: [9; 32],
            ..ClientHello::new(3)
        };
        let bytes = client.encode();
        assert_eq!(ClientHello::decode(&bytes), Ok(client));
        for bit in 0..HELLO_BYTES * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(ClientHello::decode(&damaged).is_err(), "bit {bit}");
        }
        let server = ServerHello {
            version: 1,
            status: HelloStatus::UnknownCore,
            features: 0,
            core: 1,
            cores: 2,
            frame_bytes_max: 3,
            in_flight_bytes_max: 4,
        };
        assert_eq!(ServerHello::decode(&server.encode()), Ok(server));
    }
}
