//! How a machine is started: the commands an operator types, here for QEMU without a TEE, and for
//! hosts with SEV-SNP or TDX.

use std::fmt::Write;

/// A host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Host {
    /// AMD SEV-SNP: QEMU 9.1 or later, an OVMF built for AMD SEV (AmdSev).
    Snp,
    /// Intel TDX: QEMU 10.1 or later, an OVMF built for TDX (IntelTdx).
    Tdx,
}

/// What the commands are for.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Folder with the image.
    pub image: String,
    /// The model's disk.
    pub volume: String,
    /// The kernel's command line.
    pub command_line: String,
    /// Firmware.
    pub firmware: String,
    /// Virtual processors.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// CPU model; part of the SNP launch digest.
    pub cpu_model: String,
    /// PCI addresses of GPUs to pass through.
    pub gpus: Vec<String>,
}

/// What a person should know before typing them.
const NOT_RUN: &str = "# Not run by us: no such host was at hand when this was written. Written from the QEMU and kernel\n\
                       # documentation; the launch digest in the reference values is computed for exactly this machine.\n";

/// The commands for one host.
pub fn commands(host: Host, machine: &Machine) -> String {
    let mut text = NOT_RUN.to_owned();
    for gpu in &machine.gpus {
        text += &hand_over(gpu);
    }
    text += "qemu-system-x86_64 -nodefaults -no-user-config -no-reboot -display none \\\n";
    text += &match host {
        Host::Snp => snp(machine),
        Host::Tdx => tdx(machine),
    };
    // Writing to a String cannot fail.
    let Machine { image, volume, command_line, vcpus, memory_mib, .. } = machine;
    let _ = write!(
        text,
        "  -smp {vcpus} -m {memory_mib}M \\\n\
        \x20 -kernel {image}/vmlinuz -initrd {image}/initramfs.cpio \\\n\
        \x20 -append '{command_line}' \\\n\
        \x20 -drive file={volume},format=raw,if=none,id=model,readonly=on \\\n\
        \x20 -device virtio-blk-pci,drive=model \\\n\
        \x20 -netdev tap,id=net,ifname=tap0,script=no,downscript=no \\\n\
        \x20 -device virtio-net-pci,netdev=net,romfile="
    );
    for (number, gpu) in machine.gpus.iter().enumerate() {
        let _ = write!(
            text,
            " \\\n  -object iommufd,id=iommufd{number} \\\n\
            \x20 -device pcie-root-port,id=port{number},bus=pcie.0 \\\n\
            \x20 -device vfio-pci,host={gpu},bus=port{number},iommufd=iommufd{number},rombar=0 \\\n\
            \x20 -fw_cfg name=opt/ovmf/X-PciMmio64Mb,string=262144"
        );
    }
    text.push('\n');
    text
}

fn snp(machine: &Machine) -> String {
    let Machine { cpu_model, memory_mib, firmware, .. } = machine;
    format!(
        "  -accel kvm -cpu {cpu_model} \\\n\
        \x20 -machine q35,kernel-irqchip=split,confidential-guest-support=sev0,memory-backend=ram0 \\\n\
        \x20 -object memory-backend-memfd,id=ram0,size={memory_mib}M,share=true,prealloc=false \\\n\
        \x20 -object sev-snp-guest,id=sev0,policy=0x30000,cbitpos=51,reduced-phys-bits=1,kernel-hashes=on \\\n\
        \x20 -bios {firmware} \\\n"
    )
}

fn tdx(machine: &Machine) -> String {
    let Machine { firmware, .. } = machine;
    let guest = r#"{"qom-type":"tdx-guest","id":"tdx0","quote-generation-socket":{"type":"vsock","cid":"2","port":"4050"}}"#;
    format!(
        "  -accel kvm -cpu host \\\n\
        \x20 -machine q35,kernel-irqchip=split,confidential-guest-support=tdx0,hpet=off \\\n\
        \x20 -object '{guest}' \\\n\
        \x20 -bios {firmware} \\\n"
    )
}

/// Takes a GPU from the host's driver and gives it to vfio.
fn hand_over(gpu: &str) -> String {
    format!(
        "# {gpu}: confidential mode is set with NVIDIA's gpu-admin-tools\n\
         #   nvidia_gpu_tools.py --gpu-bdf={gpu} --set-cc-mode=on --reset-after-cc-mode-switch\n\
         echo vfio-pci > /sys/bus/pci/devices/0000:{gpu}/driver_override\n\
         echo 0000:{gpu} > /sys/bus/pci/devices/0000:{gpu}/driver/unbind\n\
         echo 0000:{gpu} > /sys/bus/pci/drivers_probe\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_carry_the_measured_parts_and_say_that_nobody_ran_them() {
        let machine = Machine {
            image: "out".into(),
            volume: "model.img".into(),
            command_line: "quiet bulla.model=x".into(),
            firmware: "ovmf.fd".into(),
            vcpus: 4,
            memory_mib: 8192,
            cpu_model: "EPYC-Genoa".into(),
            gpus: vec!["41:00.0".into()],
        };
        let snp = commands(Host::Snp, &machine);
        for part in
            ["Not run", "kernel-hashes=on", "EPYC-Genoa", "'quiet bulla.model=x'", "41:00.0"]
        {
            assert!(snp.contains(part), "{part}: {snp}");
        }
        let tdx = commands(Host::Tdx, &machine);
        assert!(tdx.contains("tdx-guest") && !tdx.contains("sev-snp"), "{tdx}");
    }
}
