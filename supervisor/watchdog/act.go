package watchdog

import "log/slog"

// act carries out the decisions, on Run's goroutine only. No action blocks for long: a Watchdog
// bounds its calls, and the book writes on a goroutine of its own.
func (k *Keeper) act() {
	for {
		k.mu.Lock()
		do := k.todo
		k.todo = nil
		k.mu.Unlock()
		if len(do) == 0 {
			return
		}
		for _, a := range do {
			k.carry(a)
		}
	}
}

func (k *Keeper) carry(a action) {
	switch a.verb {
	case doArm:
		k.arm()
	case doPet:
		k.pet(a.text)
	case doGrace:
		if g, ok := k.c.Watchdog.(graceful); ok && !k.isDoomed() {
			k.check(doGrace, g.Grace(a.d))
		}
	case doSay:
		k.say(a.text)
	case doAnnounce:
		if s, ok := k.c.Watchdog.(speaker); ok {
			k.check(doAnnounce, s.Stopping())
		}
	case doComplete:
		k.c.Book.complete()
	case doHealthy:
		k.c.Book.healthy()
	case doWithhold:
		k.log.Warn("watchdog is not petted", slog.String("path", a.cause.Path), slog.String("reason", a.cause.Reason))
		k.c.Book.withhold(a.cause)
	case doRetract:
		k.c.Book.retract()
	case doRecord:
		k.log.Error("watchdog is starved", slog.String("path", a.cause.Path), slog.String("reason", a.cause.Reason))
		k.c.Book.starve(a.cause)
	case doExit:
		if k.c.Starved != nil {
			k.c.Starved(a.cause)
		}
	}
}

func (k *Keeper) isDoomed() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.doomed
}

func (k *Keeper) arm() {
	if k.isDoomed() {
		return
	}
	timeout, err := k.c.Watchdog.Arm()
	k.check(doArm, err)
	k.step(leashed{timeout: timeout, ok: err == nil})
}

// pet checks again whether the keeper is starving, because Starve may have been called since the
// decision.
func (k *Keeper) pet(status string) {
	if k.isDoomed() {
		return
	}
	k.said = status
	k.check(doPet, k.c.Watchdog.Pet(status))
}

func (k *Keeper) say(text string) {
	s, ok := k.c.Watchdog.(speaker)
	if text == "" || text == k.said {
		return
	}
	k.said = text
	k.log.Info(text)
	if ok {
		k.check(doSay, s.Say(text))
	}
}

// check logs an error when it is new, not at every pet.
func (k *Keeper) check(v verb, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text == k.errors[v] {
		return
	}
	k.errors[v] = text
	if err != nil {
		k.log.Warn("watchdog: cannot "+string(v), slog.Any("err", err))
	}
}

// end ends a clean stop. A starving watchdog is not disarmed.
func (k *Keeper) end() {
	k.act()
	if k.isDoomed() {
		return
	}
	if err := k.c.Watchdog.Stop(); err != nil {
		k.log.Warn("watchdog: cannot stop", slog.Any("err", err))
	}
}
