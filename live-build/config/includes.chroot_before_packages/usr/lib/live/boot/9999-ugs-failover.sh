#!/bin/sh
# Sourced by live-boot in the initramfs, after its own files; replaces three of its functions.
# hooks/ugs-failover-medium makes sure that live-boot has functions of these names.

# live-boot looks first at the medium that `live-media=` names, but when that is not there yet (a
# slow USB port) it mounts every disk of the server in turn to look for it. Here it looks at the one
# named medium only, again each second for a minute.
find_livefs ()
{
	[ -e "${LIVE_MEDIA}" ] || return 1
	check_dev "null" "${LIVE_MEDIA}" "skip_uuid_check"
}

# live-boot mounts whatever `fetch=` gave it, and over plain HTTP anybody in the network may have
# given it. Here it is the ISO whose digest the same boot server put on the kernel line, or nothing.
# shellcheck disable=SC2154 # live-boot set alt_mountpoint and mountpoint
do_httpmount ()
{
	medium="${alt_mountpoint}/${FETCH##*/}"
	mkdir -p "${alt_mountpoint}"
	echo "Fetching ${FETCH}"
	wget "${FETCH}" -O "${medium}" || return 1
	if ! is_the_named_medium "${medium}"
	then
		rm "${medium}"
		return 1
	fi
	mount -t iso9660 "$(setup_loop "${medium}" "" "")" "${mountpoint}"
}

is_the_named_medium ()
{
	named=""
	for word in ${LIVE_BOOT_CMDLINE}
	do
		case "${word}" in
		fetch.sha256=*)
			named="${word#*=}"
			;;
		esac
	done
	fetched="$(sha256sum <"${1}")"
	fetched="${fetched%% *}"
	if [ -n "${named}" ] && [ "${fetched}" = "${named}" ]
	then
		return 0
	fi
	refusal="${FETCH} is not the ISO that the boot menu names"
	cure="Its SHA-256 is ${fetched}, the menu's (fetch.sha256=) is ${named:-missing}.
Copy all of build/pxe to the boot server again. If it is whole there, somebody in the network
answered in the place of that server."
	return 1
}

# What a person sees when the live system cannot start.
explain ()
{
	if [ -z "${cure}" ] && [ -n "${FETCH}" ]
	then
		cure="Is that web server on, and may it read the file? This machine needs 2 GiB of memory."
	fi

	echo
	echo "UGS-Failover did not start: ${refusal:-${*}}."
	echo "Nothing was written to any disk of this machine."
	echo "The medium was looked for as ${LIVE_MEDIA:-${FETCH:-unnamed}}."
	echo "${cure:-If it is a USB stick, try another port or a CD; then start this machine again.}"
	echo "/boot.log tells more."
	echo
}

# The machine stays as it is, unless `panic=SECONDS` is on the kernel line: here nobody knows whether
# it is the server or its standby, whose disk may hold a copy that is not to start beside the server.
panic ()
{
	# live-boot had turned the output into its log
	exec 1>&6 6>&-
	exec 2>&7 7>&-
	# shellcheck disable=SC2154 # live-boot set it
	kill "${tailpid}"

	for terminal in /dev/console /dev/ttyS0
	do
		explain "${@}" 2>/dev/null >"${terminal}"
	done

	. /scripts/functions
	panic "${@}"
}
