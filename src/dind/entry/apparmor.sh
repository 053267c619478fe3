# AppArmor: nested containers get the profile that the host's engine has loaded. Nothing is loaded from here.

securityfs=/sys/kernel/security

# Whether the host's engine has loaded Docker's profile, and we can see it. A user namespace cannot.
has_profile() {
    [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ] || return
    [ -e "$securityfs/apparmor" ] || mount -t securityfs none "$securityfs" 2>/dev/null || return
    grep -q '^docker-default ' "$securityfs/apparmor/profiles" 2>/dev/null
}

# crun under a path that no profile of the host's names. Where one does (`profile crun /usr/bin/crun`, as of AppArmor 4), crun
# has that profile, and containers have both, one upon the other: Docker's then allows them no signal to one another.
unnamed_crun() {
    mkdir -p /berth
    ln -f "$(command -v crun)" /berth/crun 2>/dev/null || cp "$(command -v crun)" /berth/crun ||
        die "cannot give crun a path of its own"
}

use_profile() {
    has_profile || return 0
    # containerd's own question (`apparmor.HostSupports`): not where this variable says that it is in a container itself,
    # nor without the parser. Only to load a profile it would be run.
    unset container
    [ -e /sbin/apparmor_parser ] || ln -s /bin/false /sbin/apparmor_parser || :
}
