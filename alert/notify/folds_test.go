package notify

import "testing"

func TestFolds(t *testing.T) {
	if !Folds(Log{}) || !Folds(&Webhook{}) || Folds(&Email{}) || Folds(&Exec{}) {
		t.Error("the wrong channels fold repeats")
	}
}
