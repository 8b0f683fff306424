// What libzmq can do at best: sockets as a session server has them, and a loop that forwards.
//
//     forward four|three PORT
//
// Whoever says something on a data or command port is known there from then on. Everything that comes
// later goes to all others that are known on the same port, by reference, unread. No logins, no nodes, no
// heartbeats: the load generator's --bare is made for it. Built by scripts/bench:
//
//     g++ -O2 -o forward forward.cpp -lzmq

#include <sys/resource.h>
#include <zmq.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

// A frame; copies share the bytes.
struct Frame {
    mutable zmq_msg_t message;
    Frame() { zmq_msg_init(&message); }
    Frame(const Frame &other) : Frame() { zmq_msg_copy(&message, &other.message); }
    Frame(Frame &&other) noexcept : Frame() { zmq_msg_move(&message, &other.message); }
    explicit Frame(const std::string &text) {
        zmq_msg_init_size(&message, text.size());
        memcpy(zmq_msg_data(&message), text.data(), text.size());
    }
    ~Frame() { zmq_msg_close(&message); }
    std::string text() const {
        return {static_cast<char *>(zmq_msg_data(&message)), zmq_msg_size(&message)};
    }
};

using Message = std::vector<Frame>;

static bool receive(void *socket, Message &message) {
    message.clear();
    do {
        message.emplace_back();
        if (zmq_msg_recv(&message.back().message, socket, ZMQ_DONTWAIT) < 0) return false;
    } while (zmq_msg_more(&message.back().message));
    return true;
}

static void send_to(void *router, const std::string &peer, const Message &message, size_t first) {
    Frame identity(peer);
    zmq_msg_send(&identity.message, router, ZMQ_SNDMORE | ZMQ_DONTWAIT);
    for (size_t i = first; i < message.size(); i++) {
        Frame copy(message[i]);
        int more = i + 1 < message.size() ? ZMQ_SNDMORE : 0;
        zmq_msg_send(&copy.message, router, more | ZMQ_DONTWAIT);
    }
}

// Passes on what came on a ROUTER, to the others there.
static void forward(void *router, std::set<std::string> &peers, const Message &message) {
    std::string from = message[0].text();
    if (peers.insert(from).second) return;
    for (const std::string &peer : peers)
        if (peer != from) send_to(router, peer, message, 1);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "forward four|three PORT\n");
        return 2;
    }
    bool four = !strcmp(argv[1], "four");
    int port = atoi(argv[2]);
    rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);

    void *context = zmq_ctx_new();
    auto open = [&](int type, int offset) {
        void *socket = zmq_socket(context, type);
        std::string address = "tcp://127.0.0.1:" + std::to_string(port + offset);
        if (zmq_bind(socket, address.c_str())) {
            perror(address.c_str());
            exit(1);
        }
        return socket;
    };
    void *commands = open(ZMQ_ROUTER, 0);
    void *data = open(ZMQ_ROUTER, 1);
    void *pushed = four ? open(ZMQ_PULL, 2) : nullptr;
    // Nobody sends there, but it is waited for.
    open(ZMQ_ROUTER, four ? 3 : 2);

    std::set<std::string> talking, listening;
    std::map<int, std::string> senders;  // of what came last on a connection
    zmq_pollitem_t ready[] = {
        {commands, 0, ZMQ_POLLIN, 0}, {data, 0, ZMQ_POLLIN, 0}, {pushed, 0, ZMQ_POLLIN, 0}};
    Message message;
    for (;;) {
        zmq_poll(ready, four ? 3 : 2, -1);
        if (ready[0].revents & ZMQ_POLLIN)
            while (receive(commands, message)) forward(commands, talking, message);
        if (ready[1].revents & ZMQ_POLLIN)
            while (receive(data, message)) forward(data, listening, message);
        if (four && ready[2].revents & ZMQ_POLLIN)
            while (receive(pushed, message)) {
                // A header names its sender; what it announces follows on the same connection.
                int connection = zmq_msg_get(&message[0].message, ZMQ_SRCFD);
                if (message.size() > 1) senders[connection] = message[0].text();
                for (const std::string &peer : listening)
                    if (peer != senders[connection]) send_to(data, peer, message, 0);
            }
    }
}
