package serial

import "golang.org/x/sys/unix"

// speed returns the code of baud in c_cflag: the dedicated code if there is one, for programs that
// know only those (a pty keeps the code as given), otherwise BOTHER, which refers to the number in
// c_ospeed.
func speed(baud int) uint32 {
	switch baud {
	case 50:
		return unix.B50
	case 75:
		return unix.B75
	case 110:
		return unix.B110
	case 134:
		return unix.B134
	case 150:
		return unix.B150
	case 200:
		return unix.B200
	case 300:
		return unix.B300
	case 600:
		return unix.B600
	case 1200:
		return unix.B1200
	case 1800:
		return unix.B1800
	case 2400:
		return unix.B2400
	case 4800:
		return unix.B4800
	case 9600:
		return unix.B9600
	case 19200:
		return unix.B19200
	case 38400:
		return unix.B38400
	case 57600:
		return unix.B57600
	case 115200:
		return unix.B115200
	case 230400:
		return unix.B230400
	case 460800:
		return unix.B460800
	case 500000:
		return unix.B500000
	case 576000:
		return unix.B576000
	case 921600:
		return unix.B921600
	case 1000000:
		return unix.B1000000
	case 1152000:
		return unix.B1152000
	case 1500000:
		return unix.B1500000
	case 2000000:
		return unix.B2000000
	case 2500000:
		return unix.B2500000
	case 3000000:
		return unix.B3000000
	case 3500000:
		return unix.B3500000
	case 4000000:
		return unix.B4000000
	}
	return unix.BOTHER
}
