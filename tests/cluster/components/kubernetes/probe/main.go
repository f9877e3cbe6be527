// Command probe is what tests put into pods to look at the network from there.
//
//	probe reach HOST:PORT   ends with 0 if a connection is made within five seconds, else with 1
//	probe lookup NAME       prints the addresses of a name
//	probe serve PORT        accepts connections and says who it is
package main

import (
	"fmt"
	"net"
	"os"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		fail("usage: probe reach|lookup|serve WHAT")
	}
	switch what := os.Args[2]; os.Args[1] {
	case "reach":
		connection, err := net.DialTimeout("tcp", what, 5*time.Second)
		if err != nil {
			fail(err)
		}
		connection.Close()
		fmt.Println("reached")
	case "lookup":
		addresses, err := net.LookupHost(what)
		if err != nil {
			fail(err)
		}
		for _, address := range addresses {
			fmt.Println(address)
		}
	case "serve":
		serve(what)
	}
}

func serve(port string) {
	listener, err := net.Listen("tcp", ":"+port)
	if err != nil {
		fail(err)
	}
	name, _ := os.Hostname()
	for {
		connection, err := listener.Accept()
		if err != nil {
			fail(err)
		}
		fmt.Fprintln(connection, name)
		connection.Close()
	}
}

func fail(why any) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(1)
}
