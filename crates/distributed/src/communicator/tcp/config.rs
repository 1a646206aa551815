//! The place of a process in its group.

use super::token::Token;
use crate::communicator::operations::DEFAULT_TIMEOUT;
use crate::quote::quote;
use crate::{Error, Key, Result};
use std::net::IpAddr;
use std::time::Duration;

/// The largest number of ranks.
pub const MAX_RANKS: usize = 65_536;

/// Longer messages are refused by default: 4 GiB.
pub const DEFAULT_MAX_MESSAGE: u64 = 1 << 32;

/// The place of this process in its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpConfig {
    /// This rank, from 0.
    pub rank: usize,
    /// How many ranks there are, at most [`MAX_RANKS`].
    pub world_size: usize,
    /// The address at which rank 0 listens, such as `10.0.0.1:29500`.
    pub master: String,
    /// The address at which other ranks reach this one; by default the local address of its connection to the master.
    pub interface: Option<IpAddr>,
    /// A number that all processes of one run share; connections with another number are refused.
    pub run: u64,
    /// A secret that all processes of one run share; connections without it are refused. It may be absent only where every address is of this machine (127.0.0.1, ::1).
    pub token: Option<Token>,
    /// How long to wait for all ranks to appear, and for each operation.
    pub timeout: Duration,
    /// Longer messages of other ranks are refused, in bytes; [`DEFAULT_MAX_MESSAGE`]. Where an operation knows how much it expects, that is the limit.
    pub max_message: u64,
}

impl TcpConfig {
    /// This rank, number of ranks and master, with a time-out of 5 minutes and no secret.
    pub fn new(rank: usize, world_size: usize, master: impl Into<String>) -> Self {
        Self {
            rank,
            world_size,
            master: master.into(),
            interface: None,
            run: 0,
            token: None,
            timeout: DEFAULT_TIMEOUT,
            max_message: DEFAULT_MAX_MESSAGE,
        }
    }

    /// From the environment; `None` when `RANK` or `WORLD_SIZE` is not set.
    ///
    /// | variable | what |
    /// |---|---|
    /// | `RANK`, `WORLD_SIZE`, `MASTER_ADDR`, `MASTER_PORT` | as PyTorch's launcher sets them; the port is 29500 by default |
    /// | `DISTRIBUTED_TOKEN` | the secret; needed when `MASTER_ADDR` is not this machine |
    /// | `DISTRIBUTED_RUN`, or else `TORCHELASTIC_RUN_ID` | the run: a number, or a text whose hash is the number; 0 when neither is set |
    ///
    /// # Errors
    ///
    /// When one is not a number or outside its range, the address is missing, or the secret is empty.
    pub fn from_env() -> Result<Option<Self>> {
        Self::from_variables(|name| match std::env::var(name) {
            Ok(text) => Ok(Some(text)),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => Err(Error::connection(name, "it is not text")),
        })
    }

    fn from_variables(variable: impl Fn(&'static str) -> Result<Option<String>>) -> Result<Option<Self>> {
        let number = |name: &'static str| {
            let Some(text) = variable(name)? else { return Ok(None) };
            match text.trim().parse::<usize>() {
                Ok(value) => Ok(Some(value)),
                Err(_) => Err(Error::connection(name, format!("\"{}\" is not a number", quote(&text)))),
            }
        };
        let (Some(rank), Some(world_size)) = (number("RANK")?, number("WORLD_SIZE")?) else { return Ok(None) };
        let Some(address) = variable("MASTER_ADDR")? else {
            return Err(Error::connection("MASTER_ADDR", "it is not set, but RANK is"));
        };
        let port = number("MASTER_PORT")?.unwrap_or(29500);
        let Ok(port) = u16::try_from(port) else {
            return Err(Error::connection("MASTER_PORT", format!("{port} is above 65535")));
        };
        let host = if address.contains(':') && !address.starts_with('[') { format!("[{address}]") } else { address };
        let run = match variable("DISTRIBUTED_RUN")? {
            Some(run) => Some(run),
            None => variable("TORCHELASTIC_RUN_ID")?,
        };
        let run = run.map_or(0, |text| text.trim().parse().unwrap_or_else(|_| Key::tensor_id(text.trim())));
        let token = variable("DISTRIBUTED_TOKEN")?.map(Token::new).transpose()?;
        let config = Self { run, token, ..Self::new(rank, world_size, format!("{host}:{port}")) };
        config.check()?;
        Ok(Some(config))
    }

    /// An error for numbers outside their range.
    pub(super) fn check(&self) -> Result<()> {
        let Self { rank, world_size, .. } = *self;
        if world_size > MAX_RANKS {
            return Err(Error::config("number of ranks", format!("{world_size} is above {MAX_RANKS}")));
        }
        if rank >= world_size {
            return Err(Error::config("rank", format!("{rank} is not below the number of ranks, {world_size}")));
        }
        Ok(())
    }

    /// An error when others than the processes of this machine can reach an address and there is no secret.
    pub(super) fn check_token(&self, address: IpAddr) -> Result<()> {
        if self.token.is_some() || address.to_canonical().is_loopback() {
            return Ok(());
        }
        let reason = format!(
            "{address} can be reached from other machines: give all ranks a shared secret (DISTRIBUTED_TOKEN, or `TcpConfig::token`)"
        );
        Err(Error::config("token", reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<Option<TcpConfig>> {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        TcpConfig::from_variables(|name| Ok(find(name)))
    }

    const PLACE: [(&str, &str); 3] = [("RANK", "1"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "10.0.0.1")];

    #[test]
    fn variables_become_the_place_of_a_rank() -> Result<()> {
        let config = from(&PLACE)?;
        assert_eq!(config, Some(TcpConfig::new(1, 2, "10.0.0.1:29500")));
        let more = [("DISTRIBUTED_TOKEN", "secret"), ("DISTRIBUTED_RUN", "77"), ("TORCHELASTIC_RUN_ID", "other")];
        let config = from(&[&PLACE[..], &more].concat())?;
        let wanted =
            TcpConfig { run: 77, token: Some(Token::new("secret")?), ..TcpConfig::new(1, 2, "10.0.0.1:29500") };
        assert_eq!(config, Some(wanted));
        let config = from(&[&PLACE[..], &more[2..]].concat())?;
        assert_eq!(config.map(|config| config.run), Some(Key::tensor_id("other")));
        let six = [("RANK", "0"), ("WORLD_SIZE", "1"), ("MASTER_ADDR", "::1"), ("MASTER_PORT", "5")];
        assert_eq!(from(&six)?.map(|config| config.master), Some("[::1]:5".to_owned()));
        assert_eq!(from(&[])?, None);
        Ok(())
    }

    #[test]
    fn variables_outside_their_range_are_errors() {
        let most = u64::MAX.to_string();
        for (name, value) in [
            ("WORLD_SIZE", most.as_str()),
            ("WORLD_SIZE", "4000000000"),
            ("WORLD_SIZE", "65537"),
            ("WORLD_SIZE", "18446744073709551616"),
            ("WORLD_SIZE", "1"),
            ("WORLD_SIZE", "0"),
            ("WORLD_SIZE", "-1"),
            ("RANK", "two"),
            ("RANK", most.as_str()),
            ("MASTER_PORT", "65536"),
            ("MASTER_PORT", most.as_str()),
            ("DISTRIBUTED_TOKEN", ""),
        ] {
            let mut variables: Vec<_> = PLACE.into_iter().filter(|(key, _)| *key != name).collect();
            variables.push((name, value));
            assert!(from(&variables).is_err(), "{name}={value}");
        }
    }
}
