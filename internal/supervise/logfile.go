package supervise

import (
	"fmt"
	"os"
	"path/filepath"
)

// mostLog is the size in bytes at which a log file is put aside as NAME.1; the one before it is lost.
const mostLog = 64 << 20

// logFile is the file that one program's lines go to. It is used by one goroutine.
type logFile struct {
	path string
	file *os.File
	size int64
}

func openLog(path string) (*logFile, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of a log file: %w", err)
	}
	l := &logFile{path: path}
	return l, l.open()
}

func (l *logFile) open() error {
	file, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open a log file: %w", err)
	}
	l.file = file
	if info, err := file.Stat(); err == nil {
		l.size = info.Size()
	}
	return nil
}

func (l *logFile) line(line string) error {
	if l.size >= mostLog {
		l.close()
		if err := os.Rename(l.path, l.path+".1"); err != nil {
			return fmt.Errorf("put a full log file aside: %w", err)
		}
		if err := l.open(); err != nil {
			return err
		}
	}
	n, err := l.file.WriteString(line + "\n")
	l.size += int64(n)
	return err
}

func (l *logFile) close() { _ = l.file.Close() }
