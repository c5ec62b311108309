//! One interface with a fixed address. Answers of a DHCP server would be words of the host.

use std::net::{Ipv4Addr, UdpSocket};

use crate::cmdline::Network;
use crate::kernel::{self, IFREQ_BYTES, InterfaceRequest};
use crate::{BootError, system};

/// The first network card, as the kernel names it with `net.ifnames=0`.
const CARD: &str = "eth0";
/// Where the name ends and the rest of `struct ifreq` begins.
const NAME_BYTES: usize = 16;
/// IFF_UP | IFF_RUNNING.
const UP: u16 = 0x1 | 0x40;

/// Gives loopback and card their addresses, and the card its way out.
pub fn bring_up(network: Network, gateway: Option<Ipv4Addr>) -> Result<(), BootError> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(system("opening a socket"))?;
    let flags = |name| with_bytes(name, &UP.to_ne_bytes());
    let set = |request, mut argument: [u8; IFREQ_BYTES], name: &str| {
        kernel::interface(&socket, request, &mut argument)
            .map_err(system(format!("setting up {name}")))
    };
    set(InterfaceRequest::Flags, flags("lo"), "lo")?;
    let address = with_bytes(CARD, &socket_address(network.address));
    set(InterfaceRequest::Address, address, CARD)?;
    let mask = with_bytes(CARD, &socket_address(netmask(network.prefix_bits)));
    set(InterfaceRequest::Netmask, mask, CARD)?;
    set(InterfaceRequest::Flags, flags(CARD), CARD)?;
    match gateway {
        Some(gateway) => kernel::default_route(&socket, socket_address(gateway))
            .map_err(system("setting the default route")),
        None => Ok(()),
    }
}

/// `struct ifreq`: a name, and what is said about it.
fn with_bytes(name: &str, bytes: &[u8]) -> [u8; IFREQ_BYTES] {
    let mut request = [0; IFREQ_BYTES];
    for (to, from) in request.iter_mut().zip(name.bytes().take(NAME_BYTES - 1)) {
        *to = from;
    }
    for (to, from) in request[NAME_BYTES..].iter_mut().zip(bytes) {
        *to = *from;
    }
    request
}

/// `struct sockaddr_in`, port 0.
fn socket_address(address: Ipv4Addr) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
    bytes[4..8].copy_from_slice(&address.octets());
    bytes
}

fn netmask(prefix_bits: u8) -> Ipv4Addr {
    let free_bits = 32 - u32::from(prefix_bits.clamp(1, 32));
    Ipv4Addr::from(u32::MAX << free_bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_and_requests_are_laid_out_as_linux_wants() {
        assert_eq!(netmask(24), Ipv4Addr::new(255, 255, 255, 0));
        assert_eq!(netmask(32), Ipv4Addr::BROADCAST);
        assert_eq!(netmask(1), Ipv4Addr::new(128, 0, 0, 0));
        let request = with_bytes("eth0", &socket_address(Ipv4Addr::new(10, 0, 2, 15)));
        assert_eq!(&request[..5], b"eth0\0");
        assert_eq!(&request[16..24], &[2, 0, 0, 0, 10, 0, 2, 15]);
    }
}
