package outbound

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"time"

	"seuss/guest"
	"seuss/vmm/vsock"
)

// framing is how DNS messages lie in a stream.
type framing struct {
	// read returns a message, and the header that its answer gets: the last two
	// bytes of that are the answer's length.
	read  func(io.Reader) (query, head []byte, err error)
	order binary.ByteOrder
	limit int // longest answer in bytes
}

var (
	// onUDP: abi_net_datagram. An answer comes from the address that was asked.
	onUDP = framing{readDatagram, binary.LittleEndian, maxUDP}
	// onTCP: RFC 1035, 4.2.2.
	onTCP = framing{readQuestion, binary.BigEndian, maxTCP}
)

// datagrams answers what a guest's UDP socket sends to name servers.
func (i *Instance) datagrams(c *vsock.Conn, s *vsock.Stream) { i.answerAll(c, s, onUDP) }

// questions is a name server's TCP connection.
func (i *Instance) questions(c *vsock.Conn, s *vsock.Stream) {
	if _, err := s.Write(status(0)); err == nil {
		i.answerAll(c, s, onTCP)
	}
}

// answerAll answers the questions of a stream until it ends. At most maxQuestions of it
// are under way, and maxUnderWay of the instance, so a guest that does not read its
// answers is not read from; a stream on which it stops for long ends, since its
// questions hold up those of the others.
func (i *Instance) answerAll(c *vsock.Conn, s *vsock.Stream, f framing) {
	var wg sync.WaitGroup
	var writing sync.Mutex
	slots := make(chan struct{}, maxQuestions)
	for {
		query, head, err := f.read(s)
		if err != nil {
			break
		}
		slots <- struct{}{}
		i.underWay <- struct{}{}
		wg.Go(func() {
			defer func() { <-i.underWay; <-slots }()
			answer := i.resolve(query, f.limit)
			if answer == nil {
				return
			}
			f.order.PutUint16(head[len(head)-2:], uint16(len(answer)))
			writing.Lock()
			defer writing.Unlock()
			err := s.SetWriteDeadline(time.Now().Add(answerTimeout))
			if err == nil {
				_, err = s.Write(append(head, answer...))
			}
			if err != nil { // nobody waits for it; half of one would spoil the next
				reset(c, s)
			}
		})
	}
	wg.Wait()
	s.Close()
}

func readDatagram(r io.Reader) (payload, head []byte, err error) {
	head = make([]byte, guest.NetDatagramSize, guest.NetDatagramSize+maxUDP)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, nil, err
	}
	n := binary.LittleEndian.Uint16(head[guest.NetDatagramBytesOffset:])
	if n > guest.NetDatagramBytes {
		return nil, nil, fmt.Errorf("a datagram of %d bytes", n)
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(r, payload)
	return payload, head, err
}

func readQuestion(r io.Reader) (query, head []byte, err error) {
	head = make([]byte, 2, 2+plainBytes)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, nil, err
	}
	n := binary.BigEndian.Uint16(head)
	if n > maxTCP {
		return nil, nil, fmt.Errorf("a question of %d bytes", n)
	}
	query = make([]byte, n)
	_, err = io.ReadFull(r, query)
	return query, head, err
}
