//! Everything of the enclave that touches the world: the TEE device, sockets, files, threads.

pub mod attester;
