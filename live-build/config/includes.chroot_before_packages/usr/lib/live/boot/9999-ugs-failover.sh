#!/bin/sh
# Sourced by live-boot in the initramfs, after its own files; replaces two of its functions.

# live-boot looks first at the medium that `live-media=` names, but when that is not there yet (a
# slow USB port) it mounts every disk of the server in turn to look for it. Here it looks at the one
# named medium only, again each second for a minute.
find_livefs ()
{
	[ -e "${LIVE_MEDIA}" ] || return 1
	check_dev "null" "${LIVE_MEDIA}" "skip_uuid_check"
}

# What a person sees when the live system cannot start.
panic ()
{
	# live-boot had turned the output into its log
	exec 1>&6 6>&-
	exec 2>&7 7>&-
	# shellcheck disable=SC2154 # live-boot set it
	kill "${tailpid}"

	cure="If it is a USB stick, try another port or a CD; then start this machine again."
	if [ -n "${FETCH}" ]
	then
		cure="Is that web server on, and may it read the file? This machine needs 2 GiB of memory."
	fi

	for terminal in /dev/console /dev/ttyS0
	do
		{
			echo
			echo "UGS-Failover did not start: ${*}."
			echo "Nothing was written to any disk of this machine."
			echo "The medium was looked for as ${LIVE_MEDIA:-${FETCH:-unnamed}}."
			echo "${cure}"
			echo "/boot.log tells more."
			echo
		} 2>/dev/null >"${terminal}"
	done

	. /scripts/functions
	panic "${@}"
}
