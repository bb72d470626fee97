package notify

import "errors"

// Folder is what a channel may know besides: whether its receiver takes what is sent twice, or by two hubs, for one, by its
// key.
type Folder interface{ Folds() bool }

// Folds tells whether a channel's receiver folds repeats. Those that do not say otherwise do; mails, commands and chats
// show a person everything that they are sent.
func Folds(c Channel) bool {
	f, ok := c.(Folder)
	return !ok || f.Folds()
}

// IsPermanent tells whether the same message will always meet this error.
func IsPermanent(err error) bool { return errors.As(err, new(*permanentError)) }
